// The filters of the list: the search, the status tabs, the facets, and a chip for each active filter.
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { policy } from "@/api/queries";
import { Kbd } from "@/components/button";
import { Icon } from "@/components/icon";
import { usd } from "@/lib/format";
import {
  applyChange,
  EQUAL_FILTERS,
  FILTER_LABELS,
  type FilterName,
  setUnnamed,
  type TraceFilter,
  type TracesSearch,
  traceIdIn,
  unnamedFields,
} from "@/lib/search";
import { FacetPicker } from "./facet-picker";

const TABS: { value: string | undefined; label: string }[] = [
  { value: undefined, label: "All" },
  { value: "ok", label: "OK" },
  { value: "error", label: "Errors" },
  { value: "blocked", label: "Blocked" },
  { value: "downgraded", label: "Downgraded" },
  { value: "alerted", label: "Alerted" },
  { value: "shadowed", label: "Shadowed" },
  { value: "hit", label: "Cache hits" },
];
/** The search runs after a pause in typing of this length. Arbitrary: longer than between two keys. */
const DEBOUNCE_MS = 250;

export function useSetFilter() {
  const navigate = useNavigate();
  return (change: Partial<TraceFilter>) =>
    navigate({
      to: "/traces",
      search: (before) => ({ ...applyChange(before, change), page: undefined }),
      replace: true,
    });
}

export function FilterBar({ search }: { search: TracesSearch }) {
  const setFilter = useSetFilter();
  const statusIsTab = TABS.some((tab) => tab.value === search.status);
  const chips: FilterName[] = [
    ...EQUAL_FILTERS.filter((name) => search[name]),
    ...(statusIsTab ? [] : (["status"] as const)),
    ...(["policy", "min_cost", "min_ms"] as const).filter((name) => search[name]),
  ];
  const unset = unnamedFields(search);
  return (
    <div className="flex flex-col gap-2 px-4 py-2.5 sm:px-6">
      <div className="flex flex-wrap items-center gap-2">
        <Search value={search.q ?? ""} onChange={(q) => setFilter({ q: q || undefined })} />
        <FacetPicker search={search} />
        <fieldset aria-label="Status" className="-mx-1 flex max-w-full min-w-0 overflow-x-auto px-1 lg:ml-2">
          {TABS.map((tab) => {
            const selected = tab.value === search.status;
            return (
              <button
                key={tab.label}
                type="button"
                aria-pressed={selected}
                onClick={() => setFilter({ status: tab.value })}
                className={`h-8 shrink-0 rounded-md px-2.5 text-xs transition-colors ${selected ? "bg-accent-wash text-accent" : "text-soft hover:bg-hover hover:text-ink"}`}
              >
                {tab.label}
              </button>
            );
          })}
        </fieldset>
      </div>
      {chips.length + unset.length > 0 && (
        <ul aria-label="Filters" className="flex flex-wrap items-center gap-1.5">
          {chips.map((name) => (
            <Chip key={name} label={FILTER_LABELS[name]} onRemove={() => setFilter({ [name]: undefined })}>
              {name === "policy" ? <PolicyName id={search.policy ?? ""} /> : filterText(name, search[name])}
            </Chip>
          ))}
          {unset.map((name) => (
            <Chip key={name} label={FILTER_LABELS[name]} onRemove={() => setFilter(setUnnamed(search, name, false))}>
              not set
            </Chip>
          ))}
          <li>
            <button
              type="button"
              onClick={() =>
                setFilter({ ...Object.fromEntries(chips.map((name) => [name, undefined])), unnamed: undefined })
              }
              className="h-6 rounded-md px-1.5 text-xs text-faint hover:text-ink"
            >
              Clear
            </button>
          </li>
        </ul>
      )}
    </div>
  );
}

function Chip({ label, onRemove, children }: { label: string; onRemove: () => void; children: ReactNode }) {
  return (
    <li className="flex max-w-full min-w-0 items-center rounded-md border border-edge text-xs">
      <span className="shrink-0 pl-2 text-faint">{`${label}\u00a0`}</span>
      <span className="min-w-0 max-w-80 untrusted">{children}</span>
      <button
        type="button"
        aria-label={`Remove the filter ${label}`}
        onClick={onRemove}
        className="ml-0.5 flex size-6 shrink-0 items-center justify-center rounded-md text-faint hover:text-ink"
      >
        <Icon name="close" size={12} />
      </button>
    </li>
  );
}

/** The policy's name, or its ID if the policy was deleted. */
function PolicyName({ id }: { id: string }) {
  const { data } = useQuery({ ...policy(id), retry: false });
  return <>{data?.name ?? id}</>;
}

function filterText(name: FilterName, value: string | number | undefined): string {
  if (name === "min_cost") return usd(Number(value));
  if (name === "min_ms") return `${value} ms`;
  return String(value ?? "");
}

function Search({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const navigate = useNavigate();
  const [text, setText] = useState(value);
  const latest = useRef(onChange);
  useEffect(() => {
    latest.current = onChange;
  });
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => latest.current(text), DEBOUNCE_MS);
    return () => clearTimeout(timer);
  }, [text, value]);
  const jump = (pasted: string) => {
    const id = traceIdIn(pasted);
    if (id) navigate({ to: "/traces/$id", params: { id } });
    return id !== null;
  };
  return (
    <div className="relative min-w-0 flex-1 basis-56 lg:max-w-80">
      <Icon name="search" size={14} className="pointer-events-none absolute top-2 left-2.5 text-faint" />
      <input
        id="traces-search"
        type="search"
        aria-label="Search traces, or paste a trace ID"
        placeholder="Search, or paste a trace ID"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onPaste={(event) => jump(event.clipboardData.getData("text")) && event.preventDefault()}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !jump(text)) onChange(text);
          if (event.key === "Escape") event.currentTarget.blur();
        }}
        className="h-8 w-full rounded-md border border-edge bg-ground pr-8 pl-8 [&::-webkit-search-cancel-button]:hidden"
      />
      <span className="pointer-events-none absolute top-[7px] right-2 hidden sm:block">
        <Kbd>/</Kbd>
      </span>
    </div>
  );
}
