// Errors as cards in the chat: what happened, the server's words, what to do.

import { el } from './dom.js';
import { label } from './i18n.js';
import { icon } from './icons.js';

const KINDS = {
  0: 'away', 400: 'request', 401: 'key', 403: 'key', 404: 'missing', 408: 'slow', 413: 'large', 415: 'request', 422: 'request', 429: 'busy', 499: 'request',
  503: 'full', 504: 'slow',
};

/**
 * What is kept of an error.
 * @param {Error & {status?: number, param?: string | null, code?: string | null, retryAfter?: number | null}} error
 */
export function keepError(error) {
  const gone = error.constructor.name === 'MediumGone';
  return { status: gone ? -1 : (error.status ?? 500), message: error.message, param: error.param ?? null, retryAfter: error.retryAfter ?? null };
}

/**
 * A card that tells of an error.
 * @param {ReturnType<typeof keepError>} error
 * @param {{retry: () => void, shorten: (() => void) | null}} acts
 * @returns {HTMLElement}
 */
export function errorCard(error, acts) {
  const kind = error.status === -1 ? 'gone' : (KINDS[error.status] ?? (error.status >= 500 ? 'server' : 'request'));
  const retry = el('button', { class: 'button small', icon: 'again', t: 'retry', on: { click: acts.retry } });
  if (error.retryAfter) countDown(retry, Math.min(error.retryAfter, 60));
  const shorten = acts.shorten && error.status === 400 ? el('button', { class: 'button small', t: 'withoutEarlier', on: { click: acts.shorten } }) : null;
  const words = kind === 'away' ? '' : error.message;
  return el('div', { class: 'error', role: 'alert' },
    icon('warning'),
    el('div', { class: 'error-body' },
      el('b', { t: `error.${kind}` }),
      words ? el('p', { class: 'error-words', text: words }) : null,
      el('p', { class: 'error-advice', t: `advice.${kind}` }),
      el('div', { class: 'error-acts' }, retry, shorten)));
}

function countDown(button, seconds) {
  const words = button.querySelector('span');
  const end = Date.now() + seconds * 1000;
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    button.disabled = left > 0;
    label(words, { text: left > 0 ? 'retryIn' : 'retry' }, { seconds: left });
    if (left <= 0) clearInterval(timer);
  };
  const timer = setInterval(tick, 500);
  tick();
}
