// The expression editor, made with CodeMirror. It is in a shadow root: there CodeMirror uses constructed style sheets, which
// the content security policy allows. In the page it would add <style> elements, which the policy forbids.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching } from "@codemirror/language";
import { setDiagnostics } from "@codemirror/lint";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, keymap, placeholder } from "@codemirror/view";
import { useEffect, useRef } from "react";
import type { Detail } from "@/api/client";
import { rangeAt } from "@/lib/cel";
import { colours, complete, highlighting, look, type PolicyLanguage } from "./cel-language";

type Props = {
  label: string;
  value: string;
  language: PolicyLanguage;
  onChange: (value: string) => void;
  problems: Detail[];
  onSave: () => void;
};

/**
 * Inserts text typed over a selection through the editor. The browser would keep the selection's colour with an inline
 * style, which the content security policy forbids.
 */
const typeOverSelection = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to, empty } = view.state.selection.main;
    const text = event.data;
    if (event.inputType !== "insertText" || text === null || empty || event.isComposing) return false;
    const insert = () => view.state.update({ ...view.state.replaceSelection(text), userEvent: "input.type" });
    if (!view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, text, insert)))
      view.dispatch(insert());
    event.preventDefault();
    return true;
  },
});

/** Holds the highlighting, which is replaced once the gateway has listed the variables. */
const highlightingSlot = new Compartment();

export default function CelEditor(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const latest = useRef(props);
  // Texts passed to onChange that have not come back as `value` yet. Someone who types fast is ahead of the page, so a late
  // `value` must not replace newer text.
  const pending = useRef<string[]>([]);
  // Set while the page, not the user, changes the text.
  const replacing = useRef(false);
  useEffect(() => {
    latest.current = props;
  });
  useEffect(() => {
    if (!host.current) return;
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: "open" });
    const save = () => {
      latest.current.onSave();
      return true;
    };
    const state = EditorState.create({
      doc: latest.current.value,
      extensions: [
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ override: [(context) => complete(context, latest.current.language)], icons: false }),
        keymap.of([
          { key: "Mod-Enter", run: save },
          ...closeBracketsKeymap,
          ...completionKeymap,
          ...historyKeymap,
          ...defaultKeymap,
        ]),
        typeOverSelection,
        highlightingSlot.of(highlighting(latest.current.language)),
        colours,
        look,
        placeholder("cost_usd > 5.0 && agent == 'nightly-eval'"),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({
          "aria-label": latest.current.label,
          spellcheck: "false",
          autocapitalize: "off",
        }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged || replacing.current) return;
          const text = update.state.doc.toString();
          pending.current.push(text);
          latest.current.onChange(text);
        }),
      ],
    });
    const editor = new EditorView({ state, parent: root, root });
    view.current = editor;
    return () => {
      editor.destroy();
      view.current = null;
    };
  }, []);
  const { value, problems, language } = props;
  useEffect(() => {
    view.current?.dispatch({ effects: highlightingSlot.reconfigure(highlighting(language)) });
  }, [language]);
  useEffect(() => {
    const editor = view.current;
    const echoed = pending.current.indexOf(value);
    pending.current.splice(0, echoed + 1);
    if (!editor || echoed >= 0 || editor.state.doc.toString() === value) return;
    replacing.current = true;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
    replacing.current = false;
  }, [value]);
  useEffect(() => {
    if (view.current?.state.doc.toString() === value) pending.current = [];
  });
  useEffect(() => {
    const editor = view.current;
    if (!editor) return;
    const text = editor.state.doc.toString();
    const marks = problems.flatMap(({ message, position }) =>
      position ? [{ ...rangeAt(text, position), severity: "error" as const, message }] : [],
    );
    editor.dispatch(setDiagnostics(editor.state, marks));
  }, [problems]);
  return <div ref={host} className="min-h-[104px]" />;
}
