// The words of the interface, in English and Chinese. Elements that carry data-t attributes follow the language.

import { WORDS as EN } from './words/en.js';
import { WORDS as ZH } from './words/zh.js';
import { settings, change } from './settings.js';

const ALL = { en: EN, zh: ZH };
const listeners = new Set();

/**
 * The language now: `en` or `zh`.
 * @returns {'en' | 'zh'}
 */
export function language() {
  if (settings.language in ALL) return settings.language;
  return navigator.language?.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

/**
 * Words by their key; `{name}` in them is filled from `given`.
 * @param {string} key
 * @param {Record<string, any>} [given]
 * @returns {string}
 */
export function t(key, given = {}) {
  const words = ALL[language()][key] ?? EN[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (_, name) => String(given[name] ?? ''));
}

/**
 * Whether there are words for a key.
 * @param {string} key
 * @returns {boolean}
 */
export function has(key) {
  return key in EN;
}

/**
 * Give an element words that follow the language.
 * @template {HTMLElement} T
 * @param {T} element
 * @param {{text?: string, label?: string, placeholder?: string}} keys
 * @param {Record<string, any>} [given]
 * @returns {T}
 */
export function label(element, keys, given) {
  if (keys.text) element.dataset.t = keys.text;
  if (keys.label) element.dataset.tLabel = keys.label;
  if (keys.placeholder) element.dataset.tPlaceholder = keys.placeholder;
  if (given) element.dataset.tWith = JSON.stringify(given);
  translateOne(element);
  return element;
}

/**
 * Put the words of the language into everything below `root`.
 * @param {ParentNode} root
 */
export function translate(root) {
  root.querySelectorAll('[data-t], [data-t-label], [data-t-placeholder]').forEach(translateOne);
}

/**
 * Change the language, and remember it.
 * @param {'en' | 'zh'} wanted
 */
export function setLanguage(wanted) {
  change({ language: wanted });
  document.documentElement.lang = wanted === 'zh' ? 'zh-CN' : 'en';
  translate(document);
  for (const listener of listeners) listener(wanted);
}

/**
 * Call `listener` after every change of language.
 * @param {(language: string) => void} listener
 */
export function onLanguage(listener) {
  listeners.add(listener);
}

function translateOne(element) {
  const { t: text, tLabel, tPlaceholder, tWith } = element.dataset;
  const given = tWith ? JSON.parse(tWith) : {};
  if (text) element.textContent = t(text, given);
  if (tPlaceholder) element.placeholder = t(tPlaceholder, given);
  if (tLabel) {
    element.setAttribute('aria-label', t(tLabel, given));
    if (element.matches('button, a, .tip')) element.title = t(tLabel, given);
  }
}
