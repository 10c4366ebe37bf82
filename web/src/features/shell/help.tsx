// The keyboard shortcuts.
import { Kbd } from "@/components/button";
import { Dialog } from "@/components/dialog";
import { MOD } from "@/lib/keys";

const GROUPS: { title: string; keys: [string[], string][] }[] = [
  {
    title: "Everywhere",
    keys: [
      [[MOD, "K"], "Search and commands"],
      [["1", "–", "5"], "Dashboard, traces, policies, changes, settings"],
      [["?"], "Keyboard shortcuts"],
      [["Esc"], "Close or go back"],
    ],
  },
  {
    title: "Traces",
    keys: [
      [["j"], "Next row"],
      [["k"], "Previous row"],
      [["Enter"], "Open the trace"],
      [["/"], "Search"],
      [["l"], "Turn the live tail on or off"],
      [["p"], "Pause or resume the live tail"],
      [["["], "Previous page"],
      [["]"], "Next page"],
    ],
  },
  {
    title: "One trace",
    keys: [
      [["j"], "Older trace"],
      [["k"], "Newer trace"],
      [["↑", "↓"], "Move through the spans"],
      [["←", "→"], "Collapse or expand"],
    ],
  },
  {
    title: "Policy editor",
    keys: [
      [[MOD, "Enter"], "Save"],
      [["Ctrl", "Space"], "Show completions"],
    ],
  },
];

export function Help({ open, onOpenChange }: { open: boolean; onOpenChange: (open: boolean) => void }) {
  return (
    <Dialog open={open} onOpenChange={onOpenChange} title="Keyboard shortcuts" className="max-w-2xl">
      <section
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling area must be reachable by keyboard
        tabIndex={0}
        aria-label="Keyboard shortcuts"
        className="grid gap-x-10 gap-y-5 overflow-y-auto p-5 sm:grid-cols-2"
      >
        {GROUPS.map((group) => (
          <section key={group.title}>
            <h3 className="mb-1.5 eyebrow">{group.title}</h3>
            <dl className="flex flex-col">
              {group.keys.map(([keys, meaning]) => (
                <div key={meaning} className="flex items-center justify-between gap-4 border-b border-line py-1.5">
                  <dd className="order-first">{meaning}</dd>
                  <dt className="flex gap-1">
                    {keys.map((key) => (
                      <Kbd key={key}>{key}</Kbd>
                    ))}
                  </dt>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <p className="text-faint sm:col-span-2">
          Drag over a chart to zoom in. The address of a page holds its filters and period, so you can share or bookmark
          it.
        </p>
      </section>
    </Dialog>
  );
}
