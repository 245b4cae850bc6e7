// Pictures of the cache, fetched with the key and kept as blobs.

import { request } from './api.js';

const known = new Map();

/**
 * The address of a picture, or null where there is none.
 * @param {string | null} path of `picture` in what was retrieved
 * @returns {Promise<string | null>}
 */
export function pictureUrl(path) {
  if (!path) return Promise.resolve(null);
  if (!known.has(path)) {
    known.set(path, request(path).then(async (response) => URL.createObjectURL(await response.blob())).catch(() => null));
  }
  return known.get(path);
}
