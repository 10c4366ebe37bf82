// A labelled value with a note below it. Several form a grid.
import type { ReactNode } from "react";

type Props = { label: string; about?: string; title?: string; wide?: boolean; children: ReactNode };

export function Fact({ label, about, title, wide = false, children }: Props) {
  return (
    <div title={title} className={`flex min-w-0 flex-col bg-surface px-3.5 py-2.5 ${wide ? "xl:col-span-2" : ""}`}>
      <dt className="eyebrow">{label}</dt>
      <dd className="untrusted text-md font-medium">{children}</dd>
      <dd className="untrusted text-xs text-faint" title={about}>
        {about ?? "\u00a0"}
      </dd>
    </div>
  );
}

/** A state as a word with a coloured dot. */
export function State({ dot, children }: { dot: string; children: string }) {
  return (
    <span className="inline-flex items-center gap-2">
      <span aria-hidden="true" className={`size-2 rounded-full ${dot}`} />
      {children}
    </span>
  );
}
