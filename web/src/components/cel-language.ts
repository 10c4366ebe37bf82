// CEL for CodeMirror: highlighting, completion with types and descriptions, and a look made of the theme's tokens.
import { type CompletionContext, type CompletionResult, snippetCompletion } from "@codemirror/autocomplete";
import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Schemas } from "@/api/client";
import { type Word, word } from "@/lib/cel";

export type PolicyLanguage = Schemas["PolicyLanguage"];

const TAGS: Record<Word, string> = {
  variable: "variableName",
  name: "invalid",
  method: "propertyName",
  string: "string",
  number: "number",
  keyword: "keyword",
  operator: "operator",
  bracket: "bracket",
  comment: "comment",
  wrong: "invalid",
};

export function highlighting({ variables }: PolicyLanguage) {
  return StreamLanguage.define({
    name: "cel",
    token(stream) {
      const { kind, end } = word(stream.string, stream.pos, variables);
      stream.pos = Math.max(end, stream.pos + 1);
      return kind ? TAGS[kind] : null;
    },
  });
}

export const colours = syntaxHighlighting(
  HighlightStyle.define([
    { tag: tags.variableName, color: "var(--accent)" },
    { tag: tags.propertyName, color: "var(--shift)" },
    { tag: tags.string, color: "var(--good)" },
    { tag: tags.number, color: "var(--cost)" },
    { tag: tags.keyword, color: "var(--cache)" },
    { tag: tags.operator, color: "var(--soft)" },
    { tag: tags.bracket, color: "var(--soft)" },
    { tag: tags.comment, color: "var(--faint)" },
    { tag: tags.invalid, color: "var(--ink)" },
  ]),
);

export const look = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "transparent", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-content": { fontFamily: "var(--font-mono)", padding: "10px 0", caretColor: "var(--accent)", minHeight: "84px" },
  ".cm-line": { padding: "0 12px" },
  ".cm-cursor": { borderLeftColor: "var(--accent)" },
  ".cm-scroller": { lineHeight: "1.55", overflow: "auto" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--accent-wash)",
  },
  ".cm-placeholder": { color: "var(--faint)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-wash)", outline: "none" },
  ".cm-tooltip": {
    backgroundColor: "var(--raised)",
    color: "var(--ink)",
    border: "1px solid var(--edge)",
    borderRadius: "6px",
    overflow: "hidden",
    boxShadow: "var(--shadow-float)",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--font-mono)", fontSize: "12px", maxHeight: "15em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": {
    padding: "3px 10px",
    display: "flex",
    gap: "14px",
    alignItems: "baseline",
  },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent-wash)", color: "var(--ink)" },
  ".cm-completionDetail": {
    color: "var(--faint)",
    fontStyle: "normal",
    marginLeft: "auto",
    fontFamily: "var(--font-sans)",
  },
  ".cm-completionMatchedText": { textDecoration: "none", color: "var(--accent)" },
  ".cm-completionIcon": { display: "none" },
  ".cm-tooltip.cm-completionInfo": {
    padding: "8px 10px",
    maxWidth: "260px",
    fontFamily: "var(--font-sans)",
    fontSize: "12px",
  },
  ".cm-diagnostic": { padding: "6px 10px", fontFamily: "var(--font-sans)", fontSize: "12px", borderLeft: "none" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--bad) 1px",
    textUnderlineOffset: "4px",
  },
  ".cm-lintPoint:after": { borderBottomColor: "var(--bad)" },
});

/** Completes variables anywhere, and after `name.` the methods of that variable's type. */
export function complete(context: CompletionContext, language: PolicyLanguage): CompletionResult | null {
  const call = context.matchBefore(/[A-Za-z_]\w*\.\w*/);
  if (call) {
    const [name = "", prefix = ""] = call.text.split(".");
    const type = language.variables.find((variable) => variable.name === name)?.type;
    const methods = language.methods.filter((method) => method.on === type);
    const options = methods.map(({ name, argument, description }) =>
      snippetCompletion(argument ? `${name}('#{}')` : `${name}()`, {
        label: name,
        type: "method",
        detail: description,
      }),
    );
    return { from: context.pos - prefix.length, options, validFor: /^\w*$/ };
  }
  const identifier = context.matchBefore(/[A-Za-z_]\w*/);
  if (!identifier && !context.explicit) return null;
  const options = language.variables.map(({ name, type, description }) => ({
    label: name,
    type: "variable",
    detail: type,
    info: description,
  }));
  return { from: identifier?.from ?? context.pos, options, validFor: /^\w*$/ };
}
