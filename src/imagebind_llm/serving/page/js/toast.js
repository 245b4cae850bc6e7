// Short notes that go away by themselves.

import { byId, el } from './dom.js';
import { t } from './i18n.js';

/**
 * Say something for a few seconds.
 * @param {string} key
 * @param {Record<string, any>} [given]
 */
export function toast(key, given) {
  const note = el('div', { class: 'toast', text: t(key, given) });
  byId('toasts').style.setProperty('--foot', `${byId('composer').offsetHeight}px`); // above the box as it is now
  byId('toasts').append(note);
  setTimeout(() => note.remove(), Math.max(4200, 70 * note.textContent.length));
}
