// The keys of the console, and where else to look.
import { Kbd } from "@/components/button";
import { Dialog } from "@/components/dialog";
import { MOD } from "@/lib/keys";

const GROUPS: { title: string; keys: [string[], string][] }[] = [
  {
    title: "Everywhere",
    keys: [
      [[MOD, "K"], "Search and commands"],
      [["1", "–", "5"], "Dashboard, traces, policies, changes, settings"],
      [["?"], "This help"],
      [["Esc"], "Close, or one step back"],
    ],
  },
  {
    title: "Traces",
    keys: [
      [["j"], "Next row"],
      [["k"], "Row before"],
      [["Enter"], "Open it"],
      [["/"], "Search"],
      [["l"], "Live tail on and off"],
      [["p"], "Pause and go on"],
      [["["], "Page before"],
      [["]"], "Next page"],
    ],
  },
  {
    title: "One trace",
    keys: [
      [["j"], "Older trace of the filter"],
      [["k"], "Newer trace of the filter"],
      [["↑", "↓"], "Through the spans"],
      [["←", "→"], "Fold and unfold"],
    ],
  },
  {
    title: "Policy editor",
    keys: [
      [[MOD, "Enter"], "Save"],
      [["Ctrl", "Space"], "What can be written here"],
    ],
  },
];

export function Help({ open, onOpenChange }: { open: boolean; onOpenChange: (open: boolean) => void }) {
  return (
    <Dialog open={open} onOpenChange={onOpenChange} title="Keys" className="max-w-2xl">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section tabIndex={0} aria-label="Keys" className="grid gap-x-10 gap-y-5 overflow-y-auto p-5 sm:grid-cols-2">
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
          Drag over a chart to look at that period alone. Every page is kept in its address: share it, or go back to it.
        </p>
      </section>
    </Dialog>
  );
}
