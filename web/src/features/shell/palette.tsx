// The command palette: pages, policies, periods, a pasted trace ID, a search. Typing filters, arrow keys select, Enter runs.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useId, useState } from "react";
import { remove } from "@/api/client";
import { policies, signInState } from "@/api/queries";
import { Kbd } from "@/components/button";
import { Dialog } from "@/components/dialog";
import { Icon, type IconName } from "@/components/icon";
import { traceIdIn } from "@/lib/search";
import { chooseTheme } from "@/lib/theme";
import { DEFAULT_PRESET, PRESETS, type Preset } from "@/lib/time-range";
import { useSetRange } from "./time-range-picker";

type Command = { id: string; label: string; group: string; icon: IconName; run: () => void; keys?: string };
/** Most commands in the list. Arbitrary: further policies are found by typing. */
const SHOWN_MAX = 40;

type Props = { open: boolean; onOpenChange: (open: boolean) => void; onHelp: () => void };

export function Palette(props: Props) {
  // Loaded before the palette opens, so that fast typing finds “Sign out”.
  useQuery(signInState());
  return (
    <Dialog
      open={props.open}
      onOpenChange={props.onOpenChange}
      title="Search and commands"
      hiddenTitle
      className="max-w-xl"
    >
      <CommandList {...props} />
    </Dialog>
  );
}

function useCommands(text: string, onHelp: () => void): Command[] {
  const navigate = useNavigate();
  const client = useQueryClient();
  const setRange = useSetRange();
  const { data } = useQuery(policies());
  const { data: session } = useQuery(signInState());
  const query = text.trim();
  const id = traceIdIn(query);
  const found: Command[] = [];
  if (id)
    found.push({
      id: "trace",
      group: "Go to",
      icon: "arrow",
      label: `Open trace ${id}`,
      run: () => navigate({ to: "/traces/$id", params: { id } }),
    });
  const page = (
    to: "/" | "/traces" | "/policies" | "/changes" | "/settings",
    label: string,
    icon: IconName,
    keys: string,
  ): Command => ({ id: to, group: "Pages", label, icon, keys, run: () => navigate({ to }) });
  const all: Command[] = [
    page("/", "Dashboard", "dashboard", "1"),
    page("/traces", "Traces", "traces", "2"),
    page("/policies", "Policies", "policies", "3"),
    page("/changes", "Changes", "changes", "4"),
    page("/settings", "Settings", "settings", "5"),
    {
      id: "live",
      group: "Traces",
      label: "Live tail",
      icon: "bolt",
      run: () => navigate({ to: "/traces", search: { live: true } }),
    },
    ...(["error", "blocked", "downgraded"] as const).map(
      (status): Command => ({
        id: status,
        group: "Traces",
        label: `${status === "error" ? "Failed" : status === "blocked" ? "Blocked" : "Downgraded"} traces`,
        icon: "filter",
        run: () => navigate({ to: "/traces", search: { status } }),
      }),
    ),
    {
      id: "new",
      group: "Policies",
      label: "New policy",
      icon: "plus",
      run: () => navigate({ to: "/policies/$id", params: { id: "new" } }),
    },
    ...(data?.items ?? []).map(
      (policy): Command => ({
        id: policy.id,
        group: "Policies",
        label: policy.name,
        icon: "policies",
        run: () => navigate({ to: "/policies/$id", params: { id: policy.id } }),
      }),
    ),
    ...(Object.keys(PRESETS) as Preset[]).map(
      (preset): Command => ({
        id: preset,
        group: "Period",
        label: PRESETS[preset].label,
        icon: "clock",
        run: () => setRange(preset === DEFAULT_PRESET ? {} : { range: preset }),
      }),
    ),
    { id: "dark", group: "Console", label: "Dark theme", icon: "moon", run: () => chooseTheme("dark") },
    { id: "light", group: "Console", label: "Light theme", icon: "sun", run: () => chooseTheme("light") },
    {
      id: "system",
      group: "Console",
      label: "System theme",
      icon: "sun",
      run: () => chooseTheme("system"),
    },
    { id: "help", group: "Console", label: "Keyboard shortcuts", icon: "help", keys: "?", run: onHelp },
    ...(session?.needed
      ? [
          {
            id: "out",
            group: "Console",
            label: "Sign out",
            icon: "out",
            run: async () => {
              await remove("/api/session").catch(() => undefined);
              client.clear();
              navigate({ to: "/sign-in", search: {} });
            },
          } satisfies Command,
        ]
      : []),
  ];
  const parts = query.toLowerCase().split(/\s+/);
  found.push(
    ...all
      .filter((it) => parts.every((part) => `${it.group} ${it.label}`.toLowerCase().includes(part)))
      .slice(0, SHOWN_MAX),
  );
  if (query && !id)
    found.push({
      id: "search",
      group: "Search",
      icon: "search",
      label: `Search traces for “${query}”`,
      run: () => navigate({ to: "/traces", search: { q: query } }),
    });
  return found;
}

function CommandList({ onOpenChange, onHelp }: Props) {
  const [text, setText] = useState("");
  const [selected, setSelected] = useState(0);
  const listId = useId();
  const commands = useCommands(text, onHelp);
  const active = Math.min(selected, commands.length - 1);
  const run = (command: Command | undefined) => {
    if (!command) return;
    onOpenChange(false);
    command.run();
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const next = (active + step + commands.length) % commands.length;
      setSelected(next);
      document.getElementById(`${listId}-${next}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      run(commands[active]);
    }
  };
  return (
    <>
      <div className="flex items-center gap-2.5 border-b border-line px-4">
        <Icon name="search" className="text-faint" />
        <input
          role="combobox"
          aria-expanded="true"
          aria-controls={listId}
          aria-activedescendant={`${listId}-${active}`}
          aria-label="Search and commands"
          placeholder="Go to a page, search, or paste a trace ID"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setSelected(0);
          }}
          onKeyDown={press}
          className="h-12 min-w-0 flex-1 bg-transparent text-md !outline-none"
        />
        <Kbd>Esc</Kbd>
      </div>
      <div id={listId} role="listbox" aria-label="Commands" className="overflow-y-auto p-1.5">
        {commands.map((command, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the combobox above handles the keyboard
          // biome-ignore lint/a11y/useFocusableInteractive: the combobox keeps the focus and names the active option
          <div
            key={`${command.group} ${command.id}`}
            id={`${listId}-${index}`}
            role="option"
            aria-selected={index === active}
            onMouseMove={() => setSelected(index)}
            onClick={() => run(command)}
            className={`flex h-9 cursor-pointer items-center gap-3 rounded-md px-3 ${index === active ? "bg-accent-wash" : ""}`}
          >
            <Icon name={command.icon} size={15} className="text-faint" />
            <span className="untrusted min-w-0 flex-1">{command.label}</span>
            <span className="text-xs text-faint">{command.group}</span>
            {command.keys && <Kbd>{command.keys}</Kbd>}
          </div>
        ))}
      </div>
    </>
  );
}
