// Errors as cards in the chat: what happened, the server's words, what to do.

import { el } from './dom.js';
import { label, t } from './i18n.js';
import { icon } from './icons.js';

const KINDS = {
  0: 'away', 400: 'request', 401: 'key', 403: 'key', 404: 'missing', 408: 'slow', 413: 'large', 415: 'request', 422: 'request', 429: 'busy', 499: 'request',
  503: 'full', 504: 'slow',
};

const VAIN = [-1, 400, 413, 415, 422];
const PLACE = /\b(?:messages|input)(?:\[\d+\]|\.content\b)+(?:\.\w+)*/g;

/**
 * What is kept of an error.
 * @param {Error & {status?: number, param?: string | null, code?: string | null, retryAfter?: number | null, item?: {id: string, name: string} | null}} error
 */
export function keepError(error) {
  const gone = error.constructor.name === 'MediumGone';
  return { status: gone ? -1 : (error.status ?? 500), message: error.message, param: error.param ?? null, retryAfter: error.retryAfter ?? null, item: error.item ?? null };
}

/**
 * The server's words without places of a request in them: the medium that is meant, by its name, or nothing.
 * @param {string} message
 * @param {string} [name] of the medium
 */
export function plain(message, name) {
  if (!name) return message.replace(PLACE, '').replace(/^[\s:]+/, '') || t('thisPart');
  const words = message.replace(PLACE, name).replace(/^\d+ bytes(?= |:)/, name);
  return words.includes(name) ? words : `${name}: ${words}`;
}

/**
 * A card that tells of an error.
 * @param {ReturnType<typeof keepError>} error
 * @param {{retry: () => void, edit: () => void, fresh: () => void, shorten: (() => void) | null}} acts
 * @returns {HTMLElement}
 */
export function errorCard(error, acts) {
  const kind = error.status === -1 ? 'gone' : tooLong(error) ? 'long' : (KINDS[error.status] ?? (error.status >= 500 ? 'server' : 'request'));
  const retry = el('button', { class: 'button small', icon: 'again', t: 'retry', on: { click: acts.retry } });
  if (error.retryAfter) countDown(retry, Math.min(error.retryAfter, 60));
  const shorten = acts.shorten && error.status === 400 && !error.item ? el('button', { class: 'button small', t: 'withoutEarlier', on: { click: acts.shorten } }) : null;
  const edit = VAIN.includes(error.status) ? el('button', { class: 'button small', icon: 'pencil', t: 'edit', on: { click: acts.edit } }) : null;
  const fresh = kind === 'long' ? el('button', { class: 'button small', icon: 'plus', t: 'newChat', on: { click: acts.fresh } }) : null;
  const words = kind === 'away' || kind === 'long' ? '' : plain(error.message, error.item?.name);
  return el('div', { class: 'error', role: 'alert' },
    icon('warning'),
    el('div', { class: 'error-body' },
      el('b', { t: `error.${kind}` }),
      words ? el('p', { class: 'error-words', text: words }) : null,
      el('p', { class: 'error-advice', t: error.item && kind === 'request' ? 'advice.medium' : `advice.${kind}` }),
      el('div', { class: 'error-acts' }, edit, fresh, kind === 'long' ? null : retry, shorten)));
}

function tooLong(error) {
  return [400, 413].includes(error.status) && /context is/.test(error.message);
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
