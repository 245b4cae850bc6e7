// A choice among the things that the model knows by name, for who uses the mouse only.

import { json } from '../api.js';
import { el } from '../dom.js';
import { toast } from '../toast.js';
import { openDialog } from './dialog.js';

const MOST = 100;

/**
 * Ask what to look for.
 * @returns {Promise<string | null>} null: nothing was chosen
 */
export async function chooseName() {
  const names = await known();
  if (!names.length) {
    toast('findNote');
    return null;
  }
  const dialog = openDialog({
    t: 'findWhat',
    body: [
      el('p', { class: 'device-note', t: 'findNote' }),
      el('div', { class: 'names' }, ...names.map((name) => el('button', { class: 'button small', text: name, on: { click: () => dialog.close(name) } }))),
    ],
  });
  return dialog.closed;
}

// Captions of the visual cache, where they are few.
async function known() {
  try {
    const { captions } = await json('v1/cache/map?most=5000');
    const names = [...new Set(Object.values(captions))].sort();
    return names.length <= MOST ? names : [];
  } catch {
    return []; // no cache
  }
}
