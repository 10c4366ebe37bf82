// An expression to read, highlighted as in the editor.
import type { Schemas } from "@/api/client";
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

export function Expression({ text, variables }: { text: string; variables: Schemas["PolicyVariable"][] }) {
  return (
    <code title={text} className="block untrusted font-mono text-xs">
      {words(text, variables).map((it, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: words have no identity but their place
        <span key={index} className={it.kind ? TONES[it.kind] : undefined}>
          {it.text}
        </span>
      ))}
    </code>
  );
}
