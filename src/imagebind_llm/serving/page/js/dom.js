// Building and finding elements.

import { icon } from './icons.js';
import { label } from './i18n.js';

/**
 * The element with an id; it has to exist.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/**
 * A new element.
 *
 * Besides plain properties: `t`, `tLabel`, `tPlaceholder` are keys of words (they follow the language), with `tWith` for
 * what stands in them; `icon` is put first; `on` maps events to listeners; `style` maps CSS properties; `data` and `aria`
 * map attributes.
 *
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === 'class') made.className = value;
    else if (name === 'text') made.textContent = value;
    else if (name === 'on') for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (name === 'style') for (const [key, part] of Object.entries(value)) made.style.setProperty(key, part);
    else if (name === 'data') Object.assign(made.dataset, value);
    else if (name === 'aria') for (const [key, part] of Object.entries(value)) made.setAttribute(`aria-${key}`, String(part));
    else if (name === 'role' || name === 'for' || name === 'list') made.setAttribute(name, value);
    else if (!['t', 'tLabel', 'tPlaceholder', 'tWith', 'icon'].includes(name)) made[name] = value;
  }
  if (tag === 'button' && !props.type) made.type = 'button';
  if (props.icon) made.append(icon(props.icon));
  if (props.t && props.icon) made.append(label(el('span'), { text: props.t }, props.tWith));
  else if (props.t) label(made, { text: props.t }, props.tWith);
  if (props.tLabel || props.tPlaceholder) {
    label(made, { label: props.tLabel, placeholder: props.tPlaceholder }, props.tWith);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/**
 * Put the icons of `data-icon` into the elements of the static page.
 * @param {ParentNode} root
 */
export function placeIcons(root) {
  for (const one of root.querySelectorAll('[data-icon]')) {
    one.prepend(icon(one.dataset.icon));
    delete one.dataset.icon;
  }
}

/**
 * A name nobody else has.
 * @returns {string}
 */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return Array.from(bytes, (byte) => byte.toString(36).padStart(2, '0')).join('');
}

/**
 * Whether things should move less.
 * @returns {boolean}
 */
export function lessMotion() {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/**
 * Colour the part of a slider that is before its thumb.
 * @param {HTMLInputElement} slider
 */
export function paintSlider(slider) {
  const low = Number(slider.min);
  const share = (Number(slider.value) - low) / (Number(slider.max) - low || 1);
  slider.style.setProperty('--at', `${(share * 100).toFixed(1)}%`);
}
