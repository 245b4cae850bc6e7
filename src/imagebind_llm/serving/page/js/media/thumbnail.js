// A small square picture of a medium, as a data URL; null where there is none.

import { extension } from './modalities.js';
import { readNpy, readTable } from './npy.js';
import { coloured, curves, square, wave } from './paint.js';
import { readGrey16 } from './png.js';

const MOST = 64 * 1024 * 1024;

/**
 * A thumbnail.
 * @param {Blob} blob
 * @param {string} modality
 * @param {string} name of the file
 * @returns {Promise<string | null>}
 */
export async function thumbnail(blob, modality, name) {
  if (blob.size > MOST && modality !== 'video') return null;
  try {
    const made = await (MAKERS[modality] ?? (() => null))(blob, name);
    return made;
  } catch {
    return null; // a kind that this browser cannot read; the server may
  }
}

const MAKERS = {
  image: async (blob) => {
    const picture = await createImageBitmap(blob);
    return square(picture, picture.width, picture.height);
  },
  depth: (blob) => map(blob, 'depth'),
  thermal: (blob) => map(blob, 'thermal'),
  audio: async (blob) => {
    const drawn = await wave(await blob.arrayBuffer(), 192, 192);
    return drawn.toDataURL();
  },
  imu: async (blob, name) => {
    const table = await numbers(blob, name);
    return table ? curves(table, 192, 192).toDataURL() : null;
  },
  video: frame,
  point: async (blob, name) => (await import('./viewer.js')).picture(blob, name),
};

/**
 * A depth map or thermal image in colours.
 * @param {Blob} blob
 * @param {'depth' | 'thermal'} kind
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function colours(blob, kind) {
  const buffer = await blob.arrayBuffer();
  const grid = readNpy(buffer) ?? (await readGrey16(buffer)) ?? (await pixels(blob));
  const shape = grid.shape.filter((one) => one !== 1);
  return coloured({ shape, values: grid.values }, kind);
}

/**
 * The numbers of a recording.
 * @param {Blob} blob
 * @param {string} name
 */
export async function numbers(blob, name) {
  return extension(name) === 'npy' ? readNpy(await blob.arrayBuffer()) : readTable(await blob.text());
}

async function map(blob, kind) {
  const drawn = await colours(blob, kind);
  return square(drawn, drawn.width, drawn.height);
}

async function pixels(blob) {
  const picture = await createImageBitmap(blob);
  const board = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
  board.drawImage(picture, 0, 0);
  const { data } = board.getImageData(0, 0, picture.width, picture.height);
  const values = Float64Array.from({ length: data.length / 4 }, (_, at) => data[4 * at] + data[4 * at + 1] + data[4 * at + 2]);
  return { shape: [picture.height, picture.width], values };
}

async function frame(blob, name) {
  if (extension(name) === 'gif') return MAKERS.image(blob);
  const video = document.createElement('video');
  const url = URL.createObjectURL(blob);
  try {
    video.muted = true;
    video.preload = 'auto';
    video.src = url;
    await once(video, 'loadeddata');
    video.currentTime = Math.min(video.duration * 0.3 || 0, 5);
    await once(video, 'seeked');
    return square(video, video.videoWidth, video.videoHeight);
  } finally {
    video.removeAttribute('src');
    URL.revokeObjectURL(url);
  }
}

function once(target, event) {
  return new Promise((resolve, reject) => {
    target.addEventListener(event, resolve, { once: true });
    target.addEventListener('error', () => reject(new Error(event)), { once: true });
    setTimeout(() => reject(new Error('slow')), 8000);
  });
}
