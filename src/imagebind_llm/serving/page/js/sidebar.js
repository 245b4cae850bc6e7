// The list of chats: open, rename, save as a file, delete.

import { byId, el } from './dom.js';
import { t } from './i18n.js';
import { askWords, confirm } from './dialogs/dialog.js';
import { openMenu } from './menu.js';
import { chats, removeChat, saveChat } from './store.js';

/** The list of chats beside the page; a drawer where the page is narrow. */
export class Sidebar {
  /** @param {{open: (record: any) => void, fresh: () => void, current: () => any}} acts */
  constructor(acts) {
    this.acts = acts;
    byId('side-open').addEventListener('click', () => this.slide(true));
    byId('side-close').addEventListener('click', () => this.slide(false));
    byId('scrim').addEventListener('click', () => this.slide(false));
    byId('side').addEventListener('keydown', (event) => { if (event.key === 'Escape') this.slide(false); });
    byId('new-chat').addEventListener('click', () => {
      this.slide(false);
      acts.fresh();
    });
  }

  /** Open or close the drawer. */
  slide(open) {
    const side = byId('side');
    if (side.classList.contains('open') === open) return;
    side.classList.toggle('open', open);
    byId('scrim').hidden = !open;
    byId('stage').inert = open;
    byId('side-open').setAttribute('aria-expanded', String(open));
    byId(open ? 'side-close' : 'side-open').focus();
  }

  /** Draw the list anew. */
  async show() {
    const all = await chats();
    const today = new Date().setHours(0, 0, 0, 0);
    const groups = [
      ['today', all.filter((one) => one.updated >= today)],
      ['earlier', all.filter((one) => one.updated < today)],
    ];
    byId('chats').replaceChildren(...groups.flatMap(([name, some]) => (some.length ? [el('h2', { t: name }), ...some.map((one) => this.#row(one))] : [])));
  }

  #row(record) {
    const current = this.acts.current()?.id === record.id;
    const more = el('button', { class: 'icon-button small', icon: 'more', tLabel: 'chatActions', tWith: { title: record.title }, aria: { haspopup: 'menu' } });
    more.addEventListener('click', () => openMenu(more, [
      { t: 'rename', icon: 'pencil', act: () => this.#rename(record) },
      { t: 'saveText', icon: 'save', act: () => save(`${fileName(record)}.md`, asMarkdown(record), 'text/markdown') },
      { t: 'saveJson', icon: 'file', act: () => save(`${fileName(record)}.json`, JSON.stringify(plain(record), null, 2), 'application/json') },
      null,
      { t: 'delete', icon: 'bin', bad: true, act: () => this.#delete(record) },
    ]));
    const open = el('button', { ...(record.title ? { text: record.title } : { t: 'untitled' }), title: record.title, aria: current ? { current: 'true' } : {} });
    open.addEventListener('click', () => {
      this.slide(false);
      this.acts.open(record);
    });
    return el('div', { class: current ? 'chat current' : 'chat' }, open, more);
  }

  async #rename(record) {
    const title = await askWords({ t: 'rename', value: record.title, yes: 'save' });
    if (!title) return;
    record.title = title;
    if (this.acts.current().id === record.id) {
      this.acts.current().title = title;
      byId('chat-title').textContent = title;
    }
    await saveChat(record);
    this.show();
  }

  async #delete(record) {
    if (!(await confirm('deleteChat', 'deleteNote', 'delete'))) return;
    if (this.acts.current().id === record.id) this.acts.fresh();
    await removeChat(record);
    this.show();
  }
}

function fileName(record) {
  return (record.title || t('untitled')).replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').slice(0, 50) || 'chat';
}

function plain(record) {
  return {
    title: record.title,
    created: new Date(record.created).toISOString(),
    messages: record.messages.map((one) => (one.role === 'user'
      ? { role: 'user', text: one.text, media: one.media.map(({ modality, name, weight }) => ({ modality, name, weight })) }
      : { role: 'assistant', text: one.versions[one.shown]?.text ?? '', similar: one.versions[one.shown]?.imagebind?.retrieved ?? [] })),
  };
}

function asMarkdown(record) {
  const turns = plain(record).messages.map((one) => {
    const media = (one.media ?? []).map(({ modality, name, weight }) => `- ${modality}: ${name} × ${weight}`).join('\n');
    return `## ${t(one.role === 'user' ? 'you' : 'answer')}\n\n${media ? `${media}\n\n` : ''}${one.text}`;
  });
  return `# ${record.title}\n\n${turns.join('\n\n')}\n`;
}

function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
