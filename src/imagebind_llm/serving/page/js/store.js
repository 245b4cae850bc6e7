// Chats in this browser: IndexedDB, with the media in a store of their own. Without it they last as long as the page.

const NAME = 'imagebind-llm';
let opening = null;
const memory = { chats: new Map(), media: new Map() };

/**
 * All chats, the newest first.
 * @returns {Promise<any[]>}
 */
export async function chats() {
  const found = await run('chats', 'readonly', (store) => store.getAll());
  return (found ?? [...memory.chats.values()]).sort((a, b) => b.updated - a.updated);
}

/**
 * Keep a chat.
 * @param {any} chat
 */
export async function saveChat(chat) {
  const copy = structuredClone(chat);
  memory.chats.set(chat.id, copy);
  await run('chats', 'readwrite', (store) => store.put(copy));
}

/**
 * Forget a chat and its media.
 * @param {any} chat
 */
export async function removeChat(chat) {
  memory.chats.delete(chat.id);
  await run('chats', 'readwrite', (store) => store.delete(chat.id));
  for (const message of chat.messages) {
    const made = (message.versions ?? []).flatMap((version) => version.made ?? []);
    for (const item of [...(message.media ?? []), ...made]) await removeMedium(item.id);
  }
}

/**
 * Keep the content of a medium.
 * @param {string} id
 * @param {Blob} blob
 */
export async function saveMedium(id, blob) {
  memory.media.set(id, blob);
  await run('media', 'readwrite', (store) => store.put(blob, id));
}

/**
 * The content of a medium, or null if it is gone.
 * @param {string} id
 * @returns {Promise<Blob | null>}
 */
export async function medium(id) {
  if (memory.media.has(id)) return memory.media.get(id);
  return (await run('media', 'readonly', (store) => store.get(id))) ?? null;
}

async function removeMedium(id) {
  memory.media.delete(id);
  await run('media', 'readwrite', (store) => store.delete(id));
}

function open() {
  opening ??= new Promise((resolve) => {
    try {
      const asked = indexedDB.open(NAME, 1);
      asked.onupgradeneeded = () => {
        asked.result.createObjectStore('chats', { keyPath: 'id' });
        asked.result.createObjectStore('media');
      };
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => resolve(null);
      asked.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opening;
}

async function run(store, mode, act) {
  const base = await open();
  if (!base) return null;
  return new Promise((resolve) => {
    try {
      const transaction = base.transaction(store, mode);
      const asked = act(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(asked.result ?? null);
      transaction.onerror = transaction.onabort = () => resolve(null); // full or private: memory has it
    } catch {
      resolve(null);
    }
  });
}
