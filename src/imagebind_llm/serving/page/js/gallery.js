// The similar pictures that an answer leaned on.

import { el } from './dom.js';
import { colourOf } from './palette.js';
import { pictureUrl } from './pictures.js';

const FIRST = 6;

/**
 * @typedef {{rank: number, index: number, similarity: number, share: number, caption: string, picture: string | null}} Found
 */

/**
 * A gallery; without pictures the captions are counted up.
 * @param {{retrieved: Found[], cached: boolean}} seen cached: whether the answer leaned on them
 * @returns {HTMLElement}
 */
export function gallery({ retrieved: found, cached }) {
  const body = el('div', { class: 'gallery-body' });
  const pictured = found.some((one) => one.picture);
  const title = pictured ? 'similarPictures' : 'similarTo';
  const box = el('section', { class: 'gallery', tLabel: title },
    el('h3', { t: title }), el('p', { class: 'gallery-note', t: cached ? 'similarNote' : 'similarOnly' }), body,
    captionNote(found.map((one) => one.caption)));
  body.append(bars(found));
  if (pictured) {
    pictureUrl(found.find((one) => one.picture).picture).then((url) => { if (url) body.replaceChildren(...tiles(found)); });
  }
  return box;
}

/**
 * A quiet note that captions are as the collection has them; the page shows it where its language is another.
 * @param {string[]} captions
 */
export function captionNote(captions) {
  const chinese = captions.some((caption) => /\p{Script=Han}/u.test(caption));
  return el('span', { class: `caption-note ${chinese ? 'in-chinese' : 'not-chinese'}`, t: 'captionsAsKept' });
}

function bars(found) {
  const groups = new Map();
  for (const one of found) {
    const group = groups.get(one.caption) ?? { share: 0, best: 0, count: 0 };
    groups.set(one.caption, { share: group.share + one.share, best: Math.max(group.best, one.similarity), count: group.count + 1 });
  }
  const rows = [...groups].sort(([, a], [, b]) => b.share - a.share);
  return el('ul', { class: 'bars' }, ...rows.map(([caption, { share, best, count }]) => {
    const bar = el('span', { class: 'bar', style: { '--share': `${Math.max(2, share * 100)}%`, '--tint': colourOf(caption) } });
    return el('li', {},
      el('span', { class: 'bar-name', ...(caption ? { text: caption } : { t: 'noCaption' }) }),
      el('span', { class: 'bar-count', text: count > 1 ? `×${count}` : '' }),
      el('span', { class: 'bar-score number tip', text: percent(share), tLabel: 'scoreTip', tWith: { similarity: best.toFixed(2), share: percent(share) } }),
      bar);
  }));
}

function tiles(found) {
  const list = el('ul', { class: 'tiles' }, ...found.map((one, at) => tile(one, at >= FIRST)));
  if (found.length <= FIRST) return [list];
  const more = el('button', { class: 'text-button', t: 'showAll', tWith: { count: found.length } });
  more.addEventListener('click', () => {
    list.querySelectorAll('[hidden]').forEach((one) => { one.hidden = false; });
    more.remove();
  });
  return [list, more];
}

function tile(one, hidden) {
  const frame = el('div', { class: 'tile-picture', style: { '--tint': colourOf(one.caption, 0.2) } });
  pictureUrl(one.picture).then((url) => { if (url) frame.append(el('img', { src: url, alt: one.caption, loading: 'lazy' })); });
  return el('li', { class: 'tile', hidden },
    frame,
    el('span', { class: 'tile-name', text: one.caption, title: one.caption }),
    el('span', { class: 'tile-score number tip', text: percent(one.share), tLabel: 'scoreTip', tWith: { similarity: one.similarity.toFixed(2), share: percent(one.share) } }));
}

function percent(share) {
  return `${Math.round(share * 100)}%`;
}
