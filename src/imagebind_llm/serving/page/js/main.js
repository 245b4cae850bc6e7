// Brings the parts of the page together.

import { json, onKeyNeeded } from './api.js';
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { watch } from './connection.js';
import { askWords } from './dialogs/dialog.js';
import { byId, placeIcons } from './dom.js';
import { label, language, onLanguage, setLanguage, t, translate } from './i18n.js';
import { openMap } from './map.js';
import { offer } from './media/modalities.js';
import { Panel } from './panel.js';
import { settings } from './settings.js';
import { Sidebar } from './sidebar.js';
import { saveChat } from './store.js';
import { startTheme } from './theme.js';
import { Thread } from './thread.js';
import { toast } from './toast.js';
import { welcome } from './welcome.js';

let model = null;
let asking = null;

document.documentElement.lang = language() === 'zh' ? 'zh-CN' : 'en';
placeIcons(document);
translate(document);
startTheme();
onKeyNeeded((wrong) => {
  asking ??= askWords({ t: 'keyNeeded', note: 'keyNote', type: 'password', yes: 'continue', bad: wrong ? 'keyWrong' : undefined }).finally(() => { asking = null; });
  return asking;
});

const panel = new Panel();
const thread = new Thread(byId('thread'), byId('scroll'), {
  edit: (message, refused) => composer.edit(message, refused),
  fresh: () => enter(() => chat.start()),
  again,
  map: (message) => openMap(message.media),
  turn(message, step) {
    message.shown += step;
    saveChat(chat.record);
    show();
  },
  hasMap: () => Boolean(model?.cache),
});
const chat = new Chat({ model: () => model, onTurns: () => show(), onText: (answer) => thread.update(answer), onState: state, onKept: () => sidebar.show() });
const composer = new Composer({ send: (text, media, instead, act) => chat.ask(text, media, instead, act), stop: () => chat.stop(), model: () => model });
const sidebar = new Sidebar({
  open: (record) => enter(() => chat.open(record)),
  fresh: () => enter(() => chat.start()),
  current: () => chat.record,
});

byId('language').addEventListener('click', () => setLanguage(language() === 'zh' ? 'en' : 'zh'));
byId('map-open').addEventListener('click', () => openMap(composer.tray.sound().length ? composer.tray.sound() : lastMedia()));
byId('to-end').addEventListener('click', () => thread.toEnd());
byId('scroll').addEventListener('scroll', () => { byId('to-end').hidden = thread.atEnd(); }, { passive: true });
onLanguage(names);
names();
show();
sidebar.show();
composer.focus();
watch(() => { if (!model) begin(); });
begin();

async function begin() {
  try {
    const { data } = await json('v1/models');
    [model] = data;
    if (!model) return;
  } catch {
    return; // the banner, or the dialog for the key, says it
  }
  offer(model.modalities ?? []);
  composer.offer();
  panel.model = model;
  if (!panel.panel.hidden) panel.draw();
  byId('model').textContent = model.id;
  byId('model').hidden = false;
  byId('map-open').hidden = !model.cache;
  welcome(byId('welcome'), model.id, (question, media) => chat.ask(question, media));
}

function show() {
  const { record } = chat;
  const empty = !record.messages.length;
  byId('welcome').hidden = !empty;
  byId('thread').hidden = empty;
  thread.show(record, Boolean(chat.running));
  names();
}

function enter(change) {
  change();
  state(false);
  composer.clear();
  sidebar.show();
  byId('scroll').scrollTop = chat.record.messages.length ? byId('scroll').scrollHeight : 0;
}

function state(running) {
  composer.busy(running);
  const last = chat.record.messages.at(-1);
  const version = last?.versions?.[last.shown];
  byId('live').textContent = running ? t('thinking') : (version?.text ?? '');
}

async function again(id, how) {
  const last = () => chat.record.messages.find((one) => one.id === id)?.versions.at(-1);
  const before = last()?.text;
  await chat.again(id, how);
  const after = last()?.text;
  if (before && before === after && !settings.temperature && !last()?.made) toast('sameAgain');
}

function lastMedia() {
  return chat.record.messages.findLast((one) => one.media?.length)?.media ?? [];
}

function names() {
  byId('language').textContent = language() === 'zh' ? 'English' : '中文';
  const title = byId('chat-title');
  if (chat.record.title) {
    delete title.dataset.t;
    title.textContent = chat.record.title;
  } else {
    label(title, { text: 'newChat' });
  }
  document.title = chat.record.title ? `${chat.record.title} – ImageBind-LLM` : 'ImageBind-LLM';
}
