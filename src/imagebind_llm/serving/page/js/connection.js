// Whether the server is there: a banner says when it is not.

import { onReached } from './api.js';
import { byId, el } from './dom.js';

const CALM = 20_000;
const QUICK = 3_000;
let away = false;
let timer = 0;

/**
 * Watch the server.
 * @param {() => void} onBack called when it is there again
 */
export function watch(onBack) {
  const note = (reached) => {
    const back = away && reached;
    away = !reached;
    const banner = byId('banner');
    if (away && banner.hidden) banner.replaceChildren(el('span', { t: 'serverAway' }));
    banner.hidden = !away;
    plan();
    if (back) onBack();
  };
  const check = async () => {
    if (document.hidden && !away) return plan();
    try {
      await fetch(new URL('healthz', document.baseURI), { cache: 'no-store' });
      note(true);
    } catch {
      note(false);
    }
  };
  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(check, away ? QUICK : CALM);
  };
  onReached(note);
  addEventListener('offline', () => note(false));
  addEventListener('online', check);
  plan();
}
