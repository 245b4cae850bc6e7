// How much a medium counts: a slider with its number.

import { el, paintSlider } from './dom.js';

/**
 * A slider from -1 to 2.
 * @param {number} value
 * @param {string} name of the medium
 * @param {(value: number) => void} onChange
 */
export function weightSlider(value, name, onChange) {
  const shown = el('output', { class: 'number', text: format(value) });
  const slider = el('input', { type: 'range', min: '-1', max: '2', step: '0.05', tLabel: 'weightOf', tWith: { name } });
  slider.value = String(value);
  slider.addEventListener('input', () => {
    shown.textContent = format(Number(slider.value));
    paintSlider(slider);
    onChange(Number(slider.value));
  });
  slider.addEventListener('dblclick', () => {
    slider.value = '1';
    slider.dispatchEvent(new Event('input'));
  });
  paintSlider(slider);
  return el('span', { class: 'weight tip', tLabel: 'weightTip' }, slider, shown);
}

/**
 * A weight in words: two decimals and a true minus sign.
 * @param {number} value
 */
export function format(value) {
  return value.toFixed(2).replace('-', '−');
}
