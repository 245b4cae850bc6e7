// The media attached to the next question.

import { el } from './dom.js';
import { icon } from './icons.js';
import { t } from './i18n.js';
import { preview } from './dialogs/preview.js';
import { askWords } from './dialogs/dialog.js';
import { problemOf, shortName } from './media/check.js';
import { draw } from './media/item.js';
import { iconOf } from './media/modalities.js';
import { medium } from './store.js';
import { weightSlider } from './weights.js';

const HARD = ['problem.empty', 'problem.unclear'];

/** The media of the question that is being written. */
export class Tray {
  /**
   * @param {HTMLElement} list
   * @param {() => void} onChange
   */
  constructor(list, onChange) {
    this.list = list;
    this.onChange = onChange;
    /** @type {import('./media/item.js').Item[]} */
    this.items = [];
    this.problems = new Map();
  }

  /**
   * Attach one.
   * @param {import('./media/item.js').Item} item
   * @param {string | null} [problem] key of the words that say what is wrong with it
   */
  add(item, problem = null) {
    this.items.push(item);
    const chip = this.#chip(item);
    this.list.append(chip);
    this.#say(item, chip, problem);
    this.#changed();
    chip.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    if (!problem) this.#draw(item, chip);
  }

  /**
   * Put these in the place of all.
   * @param {import('./media/item.js').Item[]} items
   * @param {Set<string>} [refused] ids of those that the server has refused
   */
  set(items, refused = new Set()) {
    this.items = [];
    this.problems.clear();
    this.list.replaceChildren();
    for (const item of items) this.add(structuredClone(item), refused.has(item.id) ? 'problem.refused' : null);
    this.#changed();
  }

  /**
   * Go to the first medium that cannot be sent.
   * @returns {{item: import('./media/item.js').Item, problem: string} | null}
   */
  block() {
    const at = this.items.findIndex((item) => HARD.includes(this.problems.get(item)));
    if (at < 0) return null;
    const chip = this.list.children[at];
    chip.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    const problem = this.problems.get(this.items[at]);
    chip.querySelector(problem === 'problem.unclear' ? 'select' : '.chip-remove').focus();
    return { item: this.items[at], problem };
  }

  /** The media that nothing is known to be wrong with. */
  sound() {
    return this.items.filter((item) => !HARD.includes(this.problems.get(item)));
  }

  #say(item, chip, problem) {
    this.problems.set(item, problem);
    chip.classList.toggle('bad', Boolean(problem) && problem !== 'problem.cut');
    const line = chip.querySelector('.chip-problem');
    line.hidden = !problem;
    line.replaceChildren(problem ? el('span', { t: problem }) : '');
  }

  #changed() {
    this.list.hidden = !this.items.length;
    this.onChange();
  }

  #remove(item, chip) {
    const at = this.items.indexOf(item);
    this.items.splice(at, 1);
    this.problems.delete(item);
    chip.remove();
    const next = this.list.children[Math.min(at, this.items.length - 1)];
    (next?.querySelector('.chip-remove') ?? document.getElementById('question')).focus();
    this.#changed();
  }

  async #draw(item, chip) {
    if (item.modality && item.modality !== 'text' && !item.thumb) {
      chip.classList.add('busy');
      await draw(item);
      chip.classList.remove('busy');
    }
    fill(chip.querySelector('.thumb'), item);
    this.#say(item, chip, problemOf(item, await medium(item.id)));
  }

  #chip(item) {
    const thumb = el('button', { class: 'thumb', tLabel: item.modality === 'text' ? 'editWords' : 'show', tWith: { name: item.name } });
    fill(thumb, item);
    const chip = el(
      'li',
      { class: 'chip' },
      thumb,
      el('div', { class: 'chip-body' },
        el('div', { class: 'chip-top' }, this.#kind(item), el('button', {
          class: 'icon-button chip-remove', icon: 'close', tLabel: 'removeMedium', tWith: { name: item.name },
          on: { click: () => this.#remove(item, chip) },
        })),
        nameLine(item, 'chip-name'),
        el('span', { class: 'chip-problem', role: 'status', hidden: true }),
        weightSlider(item.weight, item.name, (value) => { item.weight = value; })),
    );
    thumb.addEventListener('click', async () => {
      if (item.modality !== 'text') return preview(item, await medium(item.id));
      const words = await askWords({ t: 'wordsAsMedium', note: 'wordsNote', value: item.text, yes: 'save', long: true });
      if (!words) return;
      if (item.kinds.length < 2) item.name = words;
      Object.assign(item, { text: words, cut: false });
      this.#draw(item, chip);
    });
    return chip;
  }

  #kind(item) {
    if (item.kinds.length < 2 && item.modality) return el('b', { class: 'chip-kind', ...kindWords(item.modality), title: item.name });
    const select = el('select', { class: 'chip-kind', tLabel: 'whatIsIt', tWith: { name: item.name } },
      item.modality ? null : el('option', { value: '', t: 'whatIsItChoose', selected: true, disabled: true }),
      ...item.kinds.map((kind) => el('option', { value: kind, ...kindWords(kind), selected: kind === item.modality })));
    select.addEventListener('change', () => {
      item.modality = select.value;
      item.thumb = null;
      this.#draw(item, select.closest('.chip'));
      this.onChange();
    });
    return select;
  }
}

/**
 * The name of a medium's file in a line; null where it has none that tells anything.
 * @param {{name: string, text?: string, example?: boolean}} item
 * @param {string} style
 */
export function nameLine(item, style) {
  if (item.example || item.name === item.text) return null;
  return el('span', { class: style, text: shortName(item.name), title: item.name });
}

/**
 * Properties for the words of a kind of media.
 * @param {string} modality
 */
export function kindWords(modality) {
  return t(`kind.${modality}`) === `kind.${modality}` ? { t: 'kind.sensor', tWith: { name: modality } } : { t: `kind.${modality}` };
}

/**
 * The words of a kind of media.
 * @param {string} modality
 */
export function kindName(modality) {
  const words = kindWords(modality);
  return t(words.t, words.tWith);
}

/**
 * Put the picture of an item into an element: its thumbnail, its words or its icon.
 * @param {HTMLElement} frame
 * @param {{modality: string, thumb: string | null, text?: string}} item
 */
export function fill(frame, item) {
  frame.classList.toggle('drawn', Boolean(item.thumb));
  frame.dataset.kind = item.modality;
  if (item.thumb) frame.replaceChildren(el('img', { src: item.thumb, alt: '' }), badge(item.modality));
  else if (item.modality === 'text') frame.replaceChildren(el('span', { class: 'thumb-text', text: item.text.slice(0, 120) }));
  else frame.replaceChildren(icon(iconOf(item.modality)));
}

function badge(modality) {
  return ['video', 'point'].includes(modality) ? el('span', { class: 'thumb-badge' }, icon(iconOf(modality))) : '';
}
