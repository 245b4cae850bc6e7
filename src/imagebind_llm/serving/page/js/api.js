// Talking to the server. Addresses are relative to the page, so that it also works behind a prefix.

import { events } from './sse.js';

const KEY = 'imagebind-llm.key';
let memory = '';
let askForKey = async () => null;
let noteReached = () => {};

/** What the server, or the way to it, has refused. `status` 0: it could not be reached. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {{param?: string | null, code?: string | null, retryAfter?: number | null}} [more]
   */
  constructor(status, message, more = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.param = more.param ?? null;
    this.code = more.code ?? null;
    this.retryAfter = more.retryAfter ?? null;
  }
}

/**
 * Say how a key is asked for when the server wants one. It resolves to a key, or null.
 * @param {(wrong: boolean) => Promise<string | null>} asker
 */
export function onKeyNeeded(asker) {
  askForKey = asker;
}

/**
 * Hear after every attempt whether the server was reached.
 * @param {(reached: boolean) => void} listener
 */
export function onReached(listener) {
  noteReached = listener;
}

/**
 * Fetch from the server; a 401 asks for a key and tries again.
 * @param {string} path relative, as `v1/models`
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} one that is ok
 * @throws {ApiError}
 */
export async function request(path, options = {}) {
  for (;;) {
    const key = readKey();
    const headers = new Headers(options.headers);
    if (key) headers.set('Authorization', `Bearer ${key}`);
    let response;
    try {
      response = await fetch(new URL(path.replace(/^\//, ''), document.baseURI), { ...options, headers });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      noteReached(false);
      throw new ApiError(0, error.message);
    }
    noteReached(true);
    if (response.ok) return response;
    if (response.status === 401) {
      const given = await askForKey(Boolean(key));
      if (given) {
        keepKey(given);
        continue;
      }
    }
    throw await refusal(response);
  }
}

/**
 * Send JSON, get JSON.
 * @param {string} path
 * @param {object} [body] without one it is a GET
 * @param {AbortSignal} [signal]
 */
export async function json(path, body, signal) {
  const options = body
    ? { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal }
    : { signal };
  return (await request(path, options)).json();
}

/**
 * Ask, and get the chunks of the answer as they come.
 * @param {object} body of /v1/chat/completions
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>}
 */
export async function* chat(body, signal) {
  const response = await request('v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  let ended = false;
  try {
    for await (const data of events(response.body)) {
      if (data === '[DONE]') {
        ended = true;
        break;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) {
        const { message, param, code } = chunk.error;
        throw new ApiError(Number(chunk.error.status) || 500, message, { param, code });
      }
      yield chunk;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    noteReached(false);
    throw new ApiError(0, error.message);
  }
  if (!ended) throw new ApiError(0, '');
}

/**
 * Upload a file; returns its id.
 * @param {Blob} blob
 * @param {string} name
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>}
 */
export async function upload(blob, name, signal) {
  const form = new FormData();
  form.append('purpose', 'user_data');
  form.append('file', blob, name);
  return (await (await request('v1/files', { method: 'POST', body: form, signal })).json()).id;
}

/** The key of this session, or an empty text. */
export function readKey() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return memory;
  }
}

function keepKey(key) {
  memory = key;
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // kept in memory only
  }
}

async function refusal(response) {
  const after = Number(response.headers.get('Retry-After'));
  const more = { retryAfter: after > 0 ? after : null };
  try {
    const { error, detail } = await response.json();
    const message = error?.message ?? (typeof detail === 'string' ? detail : response.statusText);
    return new ApiError(response.status, message, { ...more, param: error?.param, code: error?.code });
  } catch {
    return new ApiError(response.status, response.statusText, more);
  }
}
