// What can be told about a file before it is sent: that it is empty or damaged, and what it may be by its content.

import { extension } from './modalities.js';
import { readShape, readTable } from './npy.js';

/** Characters of words as a medium that are read from a file. */
export const WORDS = 2000;
const COMMON = ['png', 'jpg', 'jpeg', 'webp', 'gif', 'bmp'];

/**
 * The kinds a file may be, by its content where its name leaves that open; an empty text first where only the person
 * can know.
 * @param {File} file
 * @param {string[]} kinds by its name, the likeliest first
 * @param {boolean} hinted whether its name says what it is
 * @returns {Promise<string[]>}
 */
export async function lookInside(file, kinds, hinted) {
  const first = (...likely) => [...new Set([...likely.filter((kind) => kinds.includes(kind)), ...kinds])];
  const end = extension(file.name);
  if (hinted || !file.size) return kinds;
  if (end === 'gif') return (await isAnimated(file)) ? first('video') : kinds;
  if (end === 'txt' && isTable(await file.slice(0, 4096).text())) return first('point', 'imu');
  if (end !== 'npy' && end !== 'npz') return kinds;
  const shape = end === 'npy' ? (readShape(await file.slice(0, 4096).arrayBuffer()) ?? []) : [];
  if (shape.length === 2 && (shape[1] === 3 || shape[1] === 6)) return first('point');
  if (shape.length === 2 && (shape[0] === 6 || shape[1] === 7)) return first('imu');
  const possible = shape.length > 2 ? kinds.filter((kind) => kind !== 'point' && kind !== 'imu') : kinds;
  return possible.length > 1 ? ['', ...possible] : kinds;
}

/**
 * What is wrong with a medium, as far as a browser can tell: a key of words, or null.
 * @param {{modality: string, name: string, thumb: string | null, text?: string, cut?: boolean}} item after its thumbnail was drawn
 * @param {Blob | null} blob
 */
export function problemOf(item, blob) {
  if (!item.modality) return 'problem.unclear';
  if (item.modality === 'text') return item.text?.trim() ? (item.cut ? 'problem.cut' : null) : 'problem.empty';
  if (blob && !blob.size) return 'problem.empty';
  const shown = ['image', 'depth', 'thermal'].includes(item.modality) && COMMON.includes(extension(item.name));
  return blob && shown && !item.thumb ? 'problem.unreadable' : null;
}

/**
 * A name that fits in a line: its middle goes, its ending stays.
 * @param {string} name
 * @param {number} [most]
 */
export function shortName(name, most = 24) {
  const letters = [...name];
  if (letters.length <= most) return name;
  const tail = Math.min(10, most >> 1);
  return `${letters.slice(0, most - tail - 1).join('')}…${letters.slice(-tail).join('')}`;
}

function isTable(text) {
  const lines = text.split('\n').filter((line) => line.trim());
  const found = readTable(text);
  return Boolean(found) && lines.length > 2 && found.shape[0] >= lines.length * 0.8;
}

// Counts the pictures of a GIF, block by block.
async function isAnimated(file) {
  const bytes = new Uint8Array(await file.slice(0, 8 << 20).arrayBuffer());
  const table = (flags) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  const past = (at) => {
    let next = at;
    while (bytes[next]) next += bytes[next] + 1;
    return next + 1;
  };
  let at = 13 + table(bytes[10]);
  for (let pictures = 0; at < bytes.length;) {
    if (bytes[at] === 0x21) at = past(at + 2);
    else if (bytes[at] !== 0x2c || ++pictures > 1) return pictures > 1;
    else at = past(at + 11 + table(bytes[at + 9]));
  }
  return false;
}
