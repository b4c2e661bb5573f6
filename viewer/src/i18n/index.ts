// Texts by key and language. Both catalogues are typed by the keys of the English one, so a missing text does not compile.

import type { Language } from "../api";
import { en, type MessageKey } from "./en";
import { zh } from "./zh";

export type { MessageKey } from "./en";
export type Fields = Readonly<Record<string, string | number>>;
export type Translate = (key: MessageKey, fields?: Fields) => string;

const CATALOGUES: Readonly<Record<Language, Readonly<Record<MessageKey, string>>>> = { en, zh };

export function translator(language: Language): Translate {
  return (key, fields = {}) =>
    CATALOGUES[language][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(fields[name] ?? whole));
}

export function isMessageKey(key: string): key is MessageKey {
  return key in en;
}

/** The language of a first visit: what the browser asks for, else what the server prefers, else English. */
export function preferredLanguage(languages: readonly string[], server: Language | null): Language {
  for (const tag of languages) {
    if (tag.toLowerCase().startsWith("zh")) return "zh";
    if (tag.toLowerCase().startsWith("en")) return "en";
  }
  return server ?? "en";
}
