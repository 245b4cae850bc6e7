// Where questions are written and media attached.

import { byId, el } from './dom.js';
import { label, t } from './i18n.js';
import { kindName, kindWords, Tray } from './chips.js';
import { camera } from './dialogs/camera.js';
import { askWords } from './dialogs/dialog.js';
import { chooseName } from './dialogs/names.js';
import { microphone } from './dialogs/microphone.js';
import { sketch } from './dialogs/sketch.js';
import { fromFile, fromText } from './media/item.js';
import { shortName } from './media/check.js';
import { accepted, allKinds, fileKinds, iconOf, takes } from './media/modalities.js';
import { openMenu } from './menu.js';
import { toast } from './toast.js';

/** The box at the bottom. */
export class Composer {
  /** @param {{send: (text: string, media: any[], instead: string | null, act: import('./making.js').Act | null) => void, stop: () => void, model: () => any}} acts */
  constructor(acts) {
    this.acts = acts;
    this.instead = null;
    this.running = false;
    this.taking = null;
    this.field = byId('question');
    this.tray = new Tray(byId('chips'), () => this.#changed());
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.send();
    });
    byId('stop').addEventListener('click', () => acts.stop());
    byId('attach').addEventListener('click', () => this.#menu());
    byId('editing-cancel').addEventListener('click', () => this.clear());
    this.field.addEventListener('input', () => this.#changed());
    this.field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.send();
      }
      if (event.key === 'Escape') {
        if (this.running) acts.stop();
        else if (this.instead) this.clear();
      }
    });
    this.field.addEventListener('paste', (event) => this.#paste(event));
    this.#drop();
    this.#changed();
    const high = () => {
      for (const one of [document.documentElement, byId('toasts')]) one.style.setProperty('--foot', `${byId('composer').offsetHeight}px`);
    };
    new ResizeObserver(high).observe(byId('composer'));
  }

  /** Show the buttons for what the model takes. */
  offer() {
    const quick = [
      ['image', 'image', 'attachImage', () => this.#choose('image')],
      ['image', 'pencil', 'sketch', () => this.#make(sketch, 'image')],
      ['image', 'camera', 'camera', () => this.#make(camera, 'image')],
      ['audio', 'microphone', 'microphone', () => this.#make(microphone, 'audio')],
    ];
    byId('quick').replaceChildren(...quick.filter(([kind]) => takes(kind)).map(([, icon, key, click]) => el('button', { class: 'icon-button', icon, tLabel: key, on: { click } })));
    const { makes = [], tools = [] } = this.acts.model() ?? {};
    const own = [
      makes.length && ['brush', 'draw', 'drawTip', () => this.#draw(makes)],
      tools.includes('detector') && ['find', 'find', 'findTip', () => this.#find()],
    ].filter(Boolean);
    byId('own').replaceChildren(...own.map(([icon, key, tip, click]) => el('button', { class: 'text-button', id: `${key}-it`, icon, t: key, tLabel: tip, on: { click } })));
    byId('own').hidden = !own.length;
    this.#changed();
  }

  /** Say whether an answer is being written. */
  busy(running) {
    this.running = running;
    byId('send').hidden = running;
    byId('stop').hidden = !running;
    this.#changed();
  }

  /** Send what is there. */
  async send(act = null, said = '') {
    await this.taking; // a file that was dropped just now belongs to the question
    const text = said || this.field.value.trim() || (this.tray.items.length ? t('whatIsThis') : '');
    if (!text || this.running) return;
    const blocked = this.tray.block();
    if (blocked) return toast(blocked.problem === 'problem.empty' ? 'removeFirst' : 'chooseFirst', { name: shortName(blocked.item.name) });
    const { instead } = this;
    const media = structuredClone(this.tray.items);
    this.clear();
    this.acts.send(text, media, instead, act);
  }

  /**
   * Change an earlier question.
   * @param {any} message
   * @param {Set<string>} refused ids of its media that the server has refused
   */
  edit(message, refused) {
    this.instead = message.id;
    byId('editing').hidden = false;
    this.field.value = message.text;
    this.tray.set(message.media, refused);
    this.#changed();
    this.field.focus();
  }

  /** Go to the field, unless that would bring up a keyboard on the screen. */
  focus() {
    if (matchMedia('(hover: hover)').matches) this.field.focus();
  }

  /** Empty it. */
  clear() {
    this.instead = null;
    byId('editing').hidden = true;
    this.field.value = '';
    this.tray.set([]);
    this.focus();
  }

  /**
   * Attach files.
   * @param {Iterable<File>} files
   * @param {string} [kind]
   */
  async attach(files, kind) {
    const work = this.#take([...files], kind);
    this.taking = Promise.all([this.taking, work]);
    await work;
    this.focus();
  }

  async #take(files, kind) {
    for (const file of files) {
      const item = await fromFile(file, kind);
      if (item) this.tray.add(item);
      else toast('cannotTake', { name: shortName(file.name), kinds: allKinds().map(kindName).join(t('comma')) });
    }
  }

  #changed() {
    const some = this.tray.items.length > 0;
    byId('send').disabled = !this.field.value.trim() && !some;
    label(this.field, { placeholder: some ? 'askAboutIt' : 'askAnything' });
    this.field.style.setProperty('height', 'auto');
    this.field.style.setProperty('height', `${Math.min(this.field.scrollHeight, 200)}px`);
  }

  #menu() {
    const files = fileKinds().map((kind) => ({ ...kindWords(kind), ...(kindWords(kind).t === 'kind.sensor' ? { t: undefined, text: kind } : {}), note: `note.${kind}`, icon: iconOf(kind), act: () => this.#choose(kind) }));
    for (const entry of files) if (t(entry.note) === entry.note) delete entry.note;
    const made = [
      takes('image') && { t: 'sketch', icon: 'pencil', act: () => this.#make(sketch, 'image') },
      takes('image') && { t: 'camera', icon: 'camera', act: () => this.#make(camera, 'image') },
      takes('audio') && { t: 'microphone', icon: 'microphone', act: () => this.#make(microphone, 'audio') },
      takes('text') && { t: 'wordsAsMedium', note: 'note.text', icon: 'text', act: () => this.#words() },
    ].filter(Boolean);
    openMenu(byId('attach'), [...files, ...(made.length ? [null, ...made] : [])]);
  }

  #draw(kinds) {
    const words = this.field.value.trim();
    if (this.running) return;
    if (!words && !this.tray.items.length) return toast('drawWhat');
    const make = (kind) => this.send({ do: 'draw', kind, words }, words ? t(`ask.${kind}Of`, { words }) : t(`ask.${kind}`));
    if (kinds.length === 1) return make(kinds[0]);
    openMenu(byId('draw-it'), kinds.map((kind) => ({ t: `make.${kind}`, icon: { picture: 'image', sound: 'audio', shape: 'point' }[kind], act: () => make(kind) })));
  }

  async #find() {
    if (this.running) return;
    if (!this.tray.items.some((item) => item.modality === 'image')) return toast('findWhere');
    let words = this.field.value.trim();
    if (!words && this.tray.items.length < 2) words = await chooseName();
    if (words === null) return;
    this.send({ do: 'find', words }, words ? t('findWords', { words }) : t('findThis'));
  }

  #choose(kind) {
    const chooser = el('input', { type: 'file', multiple: true, accept: accepted(kind) });
    chooser.addEventListener('change', () => this.attach(chooser.files, kind));
    chooser.click();
  }

  async #make(maker, kind) {
    const file = await maker();
    if (file) await this.attach([file], kind);
  }

  async #words() {
    const words = await askWords({ t: 'wordsAsMedium', note: 'wordsNote', yes: 'attachIt', long: true, placeholder: 'wordsExample' });
    if (words) this.tray.add(fromText(words));
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.attach(files);
  }

  #drop() {
    const shade = byId('drop');
    let depth = 0;
    const carries = (event) => event.dataTransfer?.types.includes('Files') && !document.querySelector('dialog[open]');
    const show = (step) => {
      depth = Math.max(0, depth + step);
      shade.hidden = depth === 0;
    };
    addEventListener('dragenter', (event) => { if (carries(event)) show(1); });
    addEventListener('dragleave', (event) => { if (carries(event)) show(-1); });
    addEventListener('dragover', (event) => { if (event.dataTransfer?.types.includes('Files')) event.preventDefault(); });
    addEventListener('drop', (event) => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      show(-depth);
      if (!document.querySelector('dialog[open]')) this.attach(event.dataTransfer.files);
    });
  }
}
