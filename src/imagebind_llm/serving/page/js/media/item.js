// A medium that is attached: what it is, how much it counts, and the part of a request that carries it.

import { upload } from '../api.js';
import { newId } from '../dom.js';
import { medium, saveMedium } from '../store.js';
import { lookInside, WORDS } from './check.js';
import { hintsOf, kindsOf } from './modalities.js';
import { thumbnail } from './thumbnail.js';

const LARGE = 3 * 1024 * 1024;
const uploaded = new Map();

/**
 * @typedef {{id: string, modality: string, kinds: string[], name: string, weight: number, thumb: string | null, text?: string, cut?: boolean, example?: boolean}} Item
 * `modality` is empty as long as only the person can know what a file is.
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
  if (!modality && !possible.length) return null;
  const [likely, ...others] = modality
    ? [modality, ...possible.filter((kind) => kind !== modality)]
    : await lookInside(file, possible, hintsOf(file.name).some((kind) => possible.includes(kind)));
  const item = { id: newId(), modality: likely, kinds: likely ? [likely, ...others] : others, name: file.name, weight, thumb: null };
  if (item.kinds.includes('text')) {
    const words = (await file.slice(0, 4 * WORDS).text()).trim();
    Object.assign(item, { text: words.slice(0, WORDS), cut: words.length > WORDS || file.size > 4 * WORDS });
  }
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
  if (item.modality === 'text' || !item.modality) return;
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
  const { weight } = item;
  if (item.modality === 'text') return { type: 'text', text: item.text, as_media: true, weight };
  const blob = await medium(item.id);
  if (!blob) throw Object.assign(new MediumGone(item.name), { item: { id: item.id, name: item.name } });
  let content = uploaded.get(item.id);
  if (!content && blob.size > LARGE) {
    content = { file_id: await upload(blob, item.name, signal).catch((error) => { throw Object.assign(error, { item: { id: item.id, name: item.name } }); }) };
    uploaded.set(item.id, content);
  }
  content ??= { data: await base64(blob), filename: item.name };
  return { type: item.modality, [item.modality]: content, weight };
}

/**
 * The medium that a refusal is about, by its place among what was sent; null if it is about none.
 * @param {{param?: string | null, message: string}} error
 * @param {(Item[] | undefined)[]} sent the media of every message that was sent
 * @returns {{id: string, name: string} | null}
 */
export function itemAt(error, sent) {
  const place = /messages\[(\d+)\]\.content\[(\d+)\]/;
  const found = place.exec(error.param ?? '') ?? place.exec(error.message ?? '');
  const item = found && sent[Number(found[1])]?.[Number(found[2])];
  return item ? { id: item.id, name: item.name } : null;
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
