// An expression to read: coloured as in the editor, without the editor.
import { type Word, words } from "@/lib/cel";

const TONES: Record<Word, string> = {
  variable: "text-accent",
  name: "text-ink",
  method: "text-shift",
  string: "text-good",
  number: "text-cost",
  keyword: "text-cache",
  operator: "text-soft",
  bracket: "text-soft",
  comment: "text-faint",
  wrong: "text-bad",
};

export function Expression({ text }: { text: string }) {
  return (
    <code title={text} className="block outside font-mono text-xs">
      {words(text).map((it, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the words of a text have no other identity
        <span key={index} className={it.kind ? TONES[it.kind] : undefined}>
          {it.text}
        </span>
      ))}
    </code>
  );
}
