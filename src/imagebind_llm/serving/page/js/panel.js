// The settings: look and language, similar pictures, how answers are written.

import { byId, el, paintSlider } from './dom.js';
import { language, setLanguage } from './i18n.js';
import { change, DEFAULTS, settings } from './settings.js';
import { setTheme } from './theme.js';

const narrow = matchMedia('(max-width: 900px)');

/** The panel of settings on the right. */
export class Panel {
  constructor() {
    this.model = null;
    this.opener = byId('settings-open');
    this.panel = byId('settings');
    this.opener.addEventListener('click', () => this.toggle());
    document.addEventListener('keydown', (event) => {
      const free = !document.querySelector('dialog[open], .menu:popover-open');
      if (event.key === 'Escape' && free && !this.panel.hidden && (narrow.matches || this.panel.contains(document.activeElement))) this.toggle(false);
    });
    byId('scrim').addEventListener('click', () => this.toggle(false));
  }

  /** Open or close it. */
  toggle(open = this.panel.hidden) {
    if (open === !this.panel.hidden) return;
    if (open) this.draw();
    this.panel.hidden = !open;
    this.opener.setAttribute('aria-expanded', String(open));
    byId('scrim').hidden = !(open && narrow.matches);
    byId('stage').inert = open && narrow.matches;
    if (open) this.panel.querySelector('button').focus();
    else this.opener.focus();
  }

  /** Draw it anew. */
  draw() {
    const close = el('button', { class: 'icon-button', icon: 'close', tLabel: 'close', on: { click: () => this.toggle(false) } });
    const reset = el('button', { class: 'button small', t: 'resetAll', on: { click: () => this.#reset() } });
    this.panel.replaceChildren(
      el('div', { class: 'panel-top' }, el('h2', { t: 'settings' }), close),
      el('section', {}, segments('look', ['auto', 'light', 'dark'].map((value) => [value, `theme.${value}`]), settings.theme, setTheme),
        segments('languageName', [['en', 'English'], ['zh', '中文']], language(), setLanguage)),
      ...(this.model?.cache ? [this.#similar()] : []),
      ...(this.model?.tools?.length ? [tools(this.model.tools)] : []),
      el('section', {}, el('h3', { t: 'writing' }),
        slider('variety', 'temperature', { min: 0, max: 2, step: 0.05, start: 0 }, 'varietyNote'),
        slider('choice', 'topP', { min: 0.05, max: 1, step: 0.05, start: 0.75 }, 'choiceNote'),
        number('longest', 'maxTokens', 'longestNote', 1),
        number('seed', 'seed', 'seedNote', 0),
        this.#system(),
        reset),
    );
  }

  #similar() {
    const more = el('div', { class: 'stack' },
      slider('howMany', 'cacheK', { min: 1, max: Math.min(50, this.model.cache.size || 50), step: 1, start: 10 }, 'howManyNote'),
      slider('pull', 'cacheWeight', { min: 0, max: 1, step: 0.05, start: 0.5 }, 'pullNote'),
      slider('focus', 'cacheTemperature', { min: 0, max: 100, step: 1, start: 20 }, 'focusNote'));
    const adjust = () => { more.hidden = settings.cache === 'off'; };
    const use = segments('useSimilar', [['auto', 'auto'], ['on', 'on'], ['off', 'off']], settings.cache, (value) => {
      change({ cache: value });
      adjust();
    });
    const box = el('input', { type: 'checkbox', checked: settings.explain, role: 'switch' });
    box.addEventListener('change', () => change({ explain: box.checked }));
    adjust();
    return el('section', {}, el('h3', { t: 'similarPictures' }), el('p', { class: 'lead', t: 'similarLead', tWith: { size: this.model.cache.size } }),
      use, el('label', { class: 'switch' }, el('span', { t: 'showSimilar' }), box), more);
  }

  #system() {
    const area = el('textarea', { class: 'text', id: 'setting-system', rows: 3, value: settings.system, tPlaceholder: 'systemHint' });
    area.addEventListener('input', () => change({ system: area.value.trim() }));
    return el('div', { class: 'field' }, el('label', { for: area.id, t: 'system' }), area);
  }

  #reset() {
    const { language: kept, theme } = settings;
    change({ ...DEFAULTS, language: kept, theme });
    this.draw();
    this.panel.querySelector('button').focus();
  }
}

// A switch for each tool that the server can call.
function tools(names) {
  const boxes = names.map((name) => {
    const box = el('input', { type: 'checkbox', checked: settings.tools.includes(name), role: 'switch', id: `tool-${name}` });
    box.addEventListener('change', () => change({ tools: box.checked ? [...settings.tools, name] : settings.tools.filter((one) => one !== name) }));
    return el('div', { class: 'tool' }, el('label', { class: 'switch' }, el('span', { t: `tool.${name}` }), box), el('p', { class: 'note', t: `tool.${name}Note` }));
  });
  return el('section', {}, el('h3', { t: 'tools' }), el('p', { class: 'lead', t: 'toolsLead' }), ...boxes);
}

function segments(key, choices, value, onChange) {
  const name = `setting-${key}`;
  return el('div', { class: 'field', role: 'radiogroup', tLabel: key }, el('span', { class: 'label', t: key }),
    el('div', { class: 'segments' }, ...choices.map(([one, words]) => {
      const input = el('input', { type: 'radio', name, value: one, checked: one === value });
      input.addEventListener('change', () => onChange(one));
      return el('label', {}, input, el('span', /^[a-z.]+$/.test(words) ? { t: words } : { text: words }));
    })));
}

// A slider that may also stand for "as the model says".
function slider(key, name, { min, max, step, start }, note) {
  const id = `setting-${name}`;
  const input = el('input', { type: 'range', id, min, max, step });
  const shown = el('span', { class: 'aside number' });
  const reset = el('button', { class: 'text-button tiny', t: 'reset', tLabel: undefined, on: { click: () => set(null) } });
  const set = (value) => {
    change({ [name]: value });
    input.value = String(value ?? start);
    input.classList.toggle('untouched', value === null);
    shown.replaceChildren(value === null ? el('span', { t: 'modelsOwn' }) : String(value));
    reset.hidden = value === null;
    paintSlider(input);
  };
  input.addEventListener('input', () => set(Number(input.value)));
  set(settings[name]);
  return el('div', { class: 'field' }, el('label', { for: id }, el('span', { t: key }), shown, reset), input, el('p', { class: 'note', t: note }));
}

function number(key, name, note, min) {
  const input = el('input', { type: 'number', id: `setting-${name}`, min, step: 1, inputMode: 'numeric', value: settings[name] ?? '', tPlaceholder: 'modelsOwn' });
  input.addEventListener('input', () => {
    const value = input.value === '' ? null : Math.round(Number(input.value));
    if (value === null || value >= min) change({ [name]: value });
  });
  return el('div', { class: 'field' }, el('label', { for: input.id, t: key }), input, el('p', { class: 'note', t: note }));
}
