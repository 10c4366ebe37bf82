// The editor of expressions, by CodeMirror. It lives in a shadow root: there its styles are constructed sheets, which the
// content security policy allows, where in the page they would be <style> elements, which it forbids.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching } from "@codemirror/language";
import { setDiagnostics } from "@codemirror/lint";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, keymap, placeholder } from "@codemirror/view";
import { useEffect, useRef } from "react";
import type { Detail } from "@/api/client";
import { placeOf } from "@/lib/cel";
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
 * Text typed over a selection is put in by the editor and not by the browser: that one would keep the colour of what was
 * selected with an inline style, which the content security policy forbids.
 */
const typingOver = EditorView.domEventHandlers({
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

/** Highlighting is replaced when the gateway has said which variables there are. */
const highlighted = new Compartment();

export default function CelEditor(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const latest = useRef(props);
  // Texts that were told and are not back as `value` yet: who types fast is ahead of the page, and an echo must not undo that.
  const echoes = useRef<string[]>([]);
  const given = useRef(false);
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
        typingOver,
        highlighted.of(highlighting(latest.current.language)),
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
          if (!update.docChanged || given.current) return;
          const text = update.state.doc.toString();
          echoes.current.push(text);
          latest.current.onChange(text);
        }),
      ],
    });
    const made = new EditorView({ state, parent: root, root });
    view.current = made;
    return () => {
      made.destroy();
      view.current = null;
    };
  }, []);
  const { value, problems, language } = props;
  useEffect(() => {
    view.current?.dispatch({ effects: highlighted.reconfigure(highlighting(language)) });
  }, [language]);
  useEffect(() => {
    const it = view.current;
    const echo = echoes.current.indexOf(value);
    echoes.current.splice(0, echo + 1);
    if (!it || echo >= 0 || it.state.doc.toString() === value) return;
    given.current = true;
    it.dispatch({ changes: { from: 0, to: it.state.doc.length, insert: value } });
    given.current = false;
  }, [value]);
  useEffect(() => {
    if (view.current?.state.doc.toString() === value) echoes.current = [];
  });
  useEffect(() => {
    const it = view.current;
    if (!it) return;
    const text = it.state.doc.toString();
    const marks = problems.flatMap(({ message, position }) =>
      position ? [{ ...placeOf(text, position), severity: "error" as const, message }] : [],
    );
    it.dispatch(setDiagnostics(it.state, marks));
  }, [problems]);
  return <div ref={host} className="min-h-[104px]" />;
}
