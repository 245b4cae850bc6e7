// A dialog over the page. Esc, the cross and a click beside it close it.

import { el } from '../dom.js';

/**
 * Open a dialog.
 *
 * @param {{t: string, tWith?: object, class?: string, body: Node[], actions?: Node[], onClose?: () => void}} given
 * @returns {{close: (value?: any) => void, closed: Promise<any>, element: HTMLDialogElement}}
 */
export function openDialog(given) {
  let result = null;
  const back = document.activeElement;
  const title = el('h2', { t: given.t, tWith: given.tWith, id: `dialog-${Math.random().toString(36).slice(2)}` });
  const element = el(
    'dialog',
    { class: `dialog ${given.class ?? ''}`, aria: { labelledby: title.id } },
    el('div', { class: 'dialog-top' }, title, el('button', { class: 'icon-button', icon: 'close', tLabel: 'close', on: { click: () => close() } })),
    el('div', { class: 'dialog-body' }, ...given.body),
    given.actions?.length ? el('div', { class: 'dialog-actions' }, ...given.actions) : null,
  );
  const close = (value = null) => {
    result = value;
    element.close();
  };
  const closed = new Promise((resolve) => {
    element.addEventListener('close', () => {
      given.onClose?.();
      element.remove();
      if (back?.isConnected && document.activeElement === document.body) back.focus({ preventScroll: true });
      resolve(result);
    });
  });
  let pressed = null;
  element.addEventListener('pointerdown', (event) => { pressed = event.target; });
  element.addEventListener('click', (event) => { if (event.target === element && pressed === element) close(); });
  document.body.append(element);
  element.showModal();
  element.querySelector('[autofocus]')?.focus();
  return { close, closed, element };
}

/**
 * Ask yes or no.
 * @param {string} t key of the question
 * @param {string} note key of what it means
 * @param {string} yes key of the button
 * @returns {Promise<boolean>}
 */
export async function confirm(t, note, yes) {
  const dialog = openDialog({
    t,
    class: 'narrow',
    body: [el('p', { t: note })],
    actions: [
      el('button', { class: 'button', t: 'cancel', on: { click: () => dialog.close(false) } }),
      el('button', { class: 'button danger', t: yes, autofocus: true, on: { click: () => dialog.close(true) } }),
    ],
  });
  return Boolean(await dialog.closed);
}

/**
 * Ask for some words; null if there are none.
 * @param {{t: string, note?: string, value?: string, type?: string, yes: string, long?: boolean, placeholder?: string, bad?: string}} given
 * @returns {Promise<string | null>}
 */
export async function askWords(given) {
  const field = el(given.long ? 'textarea' : 'input', {
    class: 'text', value: given.value ?? '', tLabel: given.t, tPlaceholder: given.placeholder, autofocus: true,
    ...(given.long ? { rows: 3 } : { type: given.type ?? 'text' }),
  });
  if (given.type === 'password') field.autocomplete = 'off';
  const form = el('form', { class: 'stack', on: { submit: (event) => { event.preventDefault(); finish(); } } },
    given.note ? el('p', { t: given.note }) : null, field, given.bad ? el('p', { class: 'bad', role: 'alert', t: given.bad }) : null);
  const finish = () => { if (field.value.trim()) dialog.close(field.value.trim()); };
  const dialog = openDialog({
    t: given.t,
    class: 'narrow',
    body: [form],
    actions: [
      el('button', { class: 'button', t: 'cancel', on: { click: () => dialog.close() } }),
      el('button', { class: 'button primary', t: given.yes, on: { click: finish } }),
    ],
  });
  if (given.long) {
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        finish();
      }
    });
  }
  field.select();
  return dialog.closed;
}
