// Kinds of media: their icons, their files, and which kinds a file may be.

const FILES = {
  image: ['png', 'jpg', 'jpeg', 'webp', 'gif', 'bmp', 'tif', 'tiff', 'avif', 'heic', 'heif'],
  video: ['mp4', 'webm', 'mov', 'mkv', 'avi', 'm4v', 'mpg', 'mpeg', 'gif'],
  audio: ['wav', 'mp3', 'flac', 'ogg', 'oga', 'opus', 'm4a', 'aac', 'webm', 'weba'],
  point: ['ply', 'obj', 'glb', 'stl', 'off', 'pcd', 'npy', 'npz', 'xyz', 'pts', 'txt', 'csv'],
  depth: ['png', 'tif', 'tiff', 'npy', 'npz', 'jpg', 'jpeg'],
  thermal: ['png', 'jpg', 'jpeg', 'tif', 'tiff', 'npy', 'npz'],
  imu: ['csv', 'tsv', 'npy', 'npz', 'txt'],
  text: ['txt', 'md'],
};
const HINTS = [
  ['depth', /depth|深度/i],
  ['thermal', /thermal|infrared|flir|热/i],
  ['imu', /imu|accel|gyro/i],
];

/** Kinds in the order in which they are offered. */
export const ORDER = ['image', 'video', 'audio', 'point', 'depth', 'thermal', 'imu'];

let offered = [...ORDER, 'text'];

/**
 * Say which kinds the model takes.
 * @param {string[]} names of /v1/models
 */
export function offer(names) {
  const known = [...ORDER, 'text'].filter((name) => names.includes(name));
  offered = [...known, ...names.filter((name) => !known.includes(name)).sort()];
}

/**
 * Whether the model takes a kind of media.
 * @param {string} modality
 */
export function takes(modality) {
  return offered.includes(modality);
}

/** All kinds that the model takes. */
export function allKinds() {
  return offered;
}

/**
 * The kinds that come as files, sensors of the model's own last.
 * @returns {string[]}
 */
export function fileKinds() {
  return offered.filter((name) => name !== 'text');
}

/**
 * What a file chooser should show for a kind, or for all kinds.
 * @param {string} [modality]
 * @returns {string}
 */
export function accepted(modality) {
  if (modality && !(modality in FILES)) return '';
  const kinds = modality ? [modality] : fileKinds();
  if (kinds.some((kind) => !(kind in FILES))) return '';
  const types = { image: 'image/*', video: 'video/*', audio: 'audio/*' };
  return kinds.flatMap((kind) => [types[kind] ?? [], FILES[kind].map((end) => `.${end}`)].flat()).join(',');
}

/**
 * The kinds a file may be, the likeliest first; empty if the model takes none of them.
 * @param {File} file
 * @returns {string[]}
 */
export function kindsOf(file) {
  const end = extension(file.name);
  const likely = ['image', 'video', 'audio'].filter((kind) => file.type.startsWith(`${kind}/`));
  const possible = ['text', ...ORDER].filter((kind) => FILES[kind].includes(end));
  const hinted = hintsOf(file.name).filter((kind) => possible.includes(kind));
  const own = end === 'npy' || end === 'npz' || !possible.length ? fileKinds().filter((kind) => !(kind in FILES)) : [];
  if (end === 'csv' || end === 'tsv') possible.sort((a, b) => (a === 'imu' ? -1 : 0) - (b === 'imu' ? -1 : 0));
  return [...new Set([...hinted, ...likely, ...possible, ...own])].filter(takes);
}

/**
 * The kinds that words in a file's name speak for.
 * @param {string} name
 * @returns {string[]}
 */
export function hintsOf(name) {
  return HINTS.filter(([, words]) => words.test(name)).map(([kind]) => kind);
}

/**
 * The icon of a kind.
 * @param {string} modality
 */
export function iconOf(modality) {
  return [...ORDER, 'text'].includes(modality) ? modality : 'sensor';
}

/**
 * The part of a name after its last dot, in small letters.
 * @param {string} name
 */
export function extension(name) {
  return name.includes('.') ? name.slice(name.lastIndexOf('.') + 1).toLowerCase() : '';
}
