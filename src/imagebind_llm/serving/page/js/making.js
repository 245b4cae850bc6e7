// Drawing and finding without words: what the two buttons ask the server for, and files out of its answers.

import { json } from './api.js';
import { newId } from './dom.js';
import { t } from './i18n.js';
import { partOf } from './media/item.js';
import { saveMedium } from './store.js';

const ROUTES = { picture: 'images', sound: 'audio', shape: 'shapes' };
const FILES = {
  'image/png': ['image', 'png'], 'audio/wav': ['audio', 'wav'], 'model/gltf-binary': ['point', 'glb'],
};

/**
 * @typedef {{id: string, modality: string, name: string, type: string}} Made a file that is kept as media are
 * @typedef {{do: 'draw' | 'find', kind?: string, words: string}} Act what a button was asked for
 */

/**
 * Do what a button was asked for.
 * @param {Act} act
 * @param {any[]} media of the question
 * @param {number} seed of what is made: another one gives another picture
 * @param {AbortSignal} signal
 * @returns {Promise<{text: string, made: Made[]}>}
 */
export async function perform(act, media, seed, signal) {
  return act.do === 'draw' ? draw(act, media, seed, signal) : find(act, media, signal);
}

async function draw({ kind, words }, media, seed, signal) {
  const input = await Promise.all(media.map((item) => partOf(item, signal)));
  const body = { seed, ...(words ? { prompt: words } : {}), ...(input.length ? { input } : {}) };
  const { data } = await json(`v1/${ROUTES[kind]}/generations`, body, signal);
  const made = await Promise.all(data.map((one) => keep(one.b64_json, one.media_type, kind)));
  return { text: t(`drew.${kind}`), made };
}

async function find({ words }, media, signal) {
  const at = media.findIndex((item) => item.modality === 'image');
  const [scene, ...parts] = await Promise.all([media[at], ...media.filter((_, place) => place !== at)].map((item) => partOf(item, signal)));
  const input = [...(words ? [words] : []), ...parts.map((part) => ({ ...part, weight: 1 }))];
  const found = await json('v1/detect', { picture: scene, input, overlay: true }, signal);
  const made = [await keep(found.overlay.b64_json, found.overlay.media_type, 'found')];
  return { text: told(found), made };
}

/**
 * What was found, in words.
 * @param {{annotations: any[], categories: any[]}} found COCO's form
 * @returns {string} markdown
 */
export function told({ annotations, categories }) {
  if (!annotations.length) return t('foundNothing');
  const names = new Map(categories.map(({ id, name }) => [id, name]));
  const lines = annotations.map(({ category_id: id, score }, at) => `${at + 1}. ${escaped(names.get(id))} – ${Math.round(100 * score)} %`);
  return `${t(annotations.length === 1 ? 'foundOne' : 'foundMany', { count: annotations.length })}\n\n${lines.join('\n')}`;
}

/**
 * Keep what a part of an answer holds; null for one that is no file.
 * @param {any} part
 * @returns {Promise<Made | null>}
 */
export async function keepPart(part) {
  if (part.type === 'image_url') {
    const [head, data] = part.image_url.url.split(',');
    return keep(data, head.slice(5, head.indexOf(';')), 'picture');
  }
  if (part.type === 'input_audio') return keep(part.input_audio.data, 'audio/wav', 'sound');
  if (part.type === 'point') return keep(part.point.data, 'model/gltf-binary', 'shape');
  return null;
}

async function keep(data, type, stem) {
  const [modality, ending] = FILES[type] ?? ['image', 'png'];
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const made = { id: newId(), modality, name: `${stem}.${ending}`, type };
  await saveMedium(made.id, new Blob([bytes], { type }));
  return made;
}

function escaped(words) {
  return words.replace(/[\\`*_[\]<>#|]/g, '\\$&');
}
