// A medium, large: a picture, a player, a shape to turn, curves, words.

import { el } from '../dom.js';
import { extension } from '../media/modalities.js';
import { curves, wave } from '../media/paint.js';
import { colours, numbers } from '../media/thumbnail.js';
import { openDialog } from './dialog.js';

/**
 * Show a medium.
 * @param {{modality: string, name: string, text?: string}} item
 * @param {Blob | null} blob
 */
export async function preview(item, blob) {
  const ends = [];
  const stage = el('div', { class: `preview ${item.modality}` });
  const known = item.modality in MAKERS;
  openDialog({
    t: known ? `kind.${item.modality}` : 'kind.sensor',
    tWith: { name: item.modality },
    class: 'wide',
    body: [stage, item.modality === 'text' ? null : el('p', { class: 'preview-name', text: item.name })],
    onClose: () => ends.forEach((end) => end()),
  });
  const sorry = () => stage.replaceChildren(el('p', { class: 'device-note', t: blob || item.text ? 'noPreview' : 'mediumGone' }));
  try {
    if (!known || (!blob && item.modality !== 'text')) return sorry();
    const end = await MAKERS[item.modality](stage, blob, item);
    if (!end) return;
    if (stage.isConnected) ends.push(end);
    else end();
  } catch {
    sorry();
  }
}

const MAKERS = {
  image: player('img', { alt: '' }),
  video: (stage, blob, item) => (extension(item.name) === 'gif' ? MAKERS.image : player('video', { controls: true, playsInline: true }))(stage, blob, item),
  audio: async (stage, blob, item) => {
    try {
      stage.append(await wave(await blob.arrayBuffer(), 720, 160));
    } catch {
      // a sound that this browser cannot draw
    }
    return player('audio', { controls: true })(stage, blob, item);
  },
  text: async (stage, _, item) => { stage.append(el('blockquote', { text: item.text })); },
  depth: async (stage, blob) => { stage.append(await colours(blob, 'depth')); },
  thermal: async (stage, blob) => { stage.append(await colours(blob, 'thermal')); },
  imu: async (stage, blob, item) => {
    const table = await numbers(blob, item.name);
    if (!table) throw new Error('unknown');
    stage.append(curves(table, 900, 360));
  },
  point: async (stage, blob, item) => {
    const { show } = await import('../media/viewer.js');
    const end = await show(stage, blob, item.name);
    stage.querySelector('canvas').setAttribute('aria-label', item.name);
    stage.append(el('p', { class: 'preview-hint', t: 'turnHint' }));
    return end;
  },
};

function player(tag, props) {
  return async (stage, blob, item) => {
    const url = URL.createObjectURL(blob);
    const made = el(tag, { ...props, src: url });
    if (tag === 'img') made.alt = item.name;
    await new Promise((resolve, reject) => {
      made.addEventListener(tag === 'img' ? 'load' : 'loadedmetadata', resolve, { once: true });
      made.addEventListener('error', reject, { once: true });
      stage.append(made);
    });
    return () => URL.revokeObjectURL(url);
  };
}
