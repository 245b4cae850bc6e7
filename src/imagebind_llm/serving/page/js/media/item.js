// A medium that is attached: what it is, how much it counts, and the part of a request that carries it.

import { upload } from '../api.js';
import { newId } from '../dom.js';
import { medium, saveMedium } from '../store.js';
import { kindsOf } from './modalities.js';
import { thumbnail } from './thumbnail.js';

const LARGE = 3 * 1024 * 1024;
const uploaded = new Map();

/**
 * @typedef {{id: string, modality: string, kinds: string[], name: string, weight: number, thumb: string | null, text?: string}} Item
 */

/**
 * Attach a file. Its thumbnail comes later, from `draw`.
 * @param {File} file
 * @param {string} [modality] where the person has said what it is
 * @param {number} [weight]
 * @returns {Promise<Item | null>} null where the model takes no such thing
 */
export async function fromFile(file, modality, weight = 1) {
  const possible = kindsOf(file);
  const kinds = modality ? [modality, ...possible.filter((kind) => kind !== modality)] : possible;
  if (!kinds.length) return null;
  const item = { id: newId(), modality: kinds[0], kinds, name: file.name, weight, thumb: null };
  await saveMedium(item.id, file);
  return item;
}

/**
 * Attach words as a medium.
 * @param {string} text
 * @param {number} [weight]
 * @returns {Item}
 */
export function fromText(text, weight = 1) {
  return { id: newId(), modality: 'text', kinds: ['text'], name: text, text, weight, thumb: null };
}

/**
 * Make the thumbnail of an item.
 * @param {Item} item
 */
export async function draw(item) {
  if (item.modality === 'text') return;
  const blob = await medium(item.id);
  item.thumb = blob ? await thumbnail(blob, item.modality, item.name) : null;
}

/**
 * The part of a request for an item. Large files are uploaded first.
 * @param {Item} item
 * @param {AbortSignal} [signal]
 * @returns {Promise<object>}
 */
export async function partOf(item, signal) {
  const weight = item.weight;
  if (item.modality === 'text') return { type: 'text', text: item.text, as_media: true, weight };
  const blob = await medium(item.id);
  if (!blob) throw new MediumGone(item.name);
  let content = uploaded.get(item.id);
  if (!content && blob.size > LARGE) {
    content = { file_id: await upload(blob, item.name, signal) };
    uploaded.set(item.id, content);
  }
  content ??= { data: await base64(blob), filename: item.name };
  return { type: item.modality, [item.modality]: content, weight };
}

/** Forget what was uploaded: the server keeps files for a time only. */
export function forgetUploads() {
  const any = uploaded.size > 0;
  uploaded.clear();
  return any;
}

/** The content of a medium is no longer in this browser. */
export class MediumGone extends Error {}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
