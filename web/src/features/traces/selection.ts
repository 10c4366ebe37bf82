// The selected row of the list: j and k move the selection, Enter opens the trace, Escape clears the selection.
import { useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo, useState } from "react";
import { useKeys } from "@/lib/keys";
import type { TracesSearch } from "@/lib/search";

/** The list's parameters that a trace's page keeps in its URL, for its neighbours and the way back. */
export function useLinkSearch(search: TracesSearch): Omit<TracesSearch, "page" | "live"> {
  return useMemo(() => {
    const { page: _page, live: _live, ...rest } = search;
    return rest;
  }, [search]);
}

export function useSelection(items: { trace_id: string }[], search: TracesSearch) {
  const [selected, setSelected] = useState<string | null>(null);
  const navigate = useNavigate();
  const linkSearch = useLinkSearch(search);
  const open = useCallback(
    (id: string) => navigate({ to: "/traces/$id", params: { id }, search: linkSearch }),
    [navigate, linkSearch],
  );
  const move = (step: number) => {
    const at = items.findIndex((it) => it.trace_id === selected);
    const next =
      items[at === -1 ? (step > 0 ? 0 : items.length - 1) : Math.min(items.length - 1, Math.max(0, at + step))];
    if (!next) return;
    setSelected(next.trace_id);
    document.getElementById(`trace-${next.trace_id}`)?.scrollIntoView({ block: "nearest" });
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: () => selected && open(selected),
    Escape: () => setSelected(null),
  });
  return { selected, setSelected, open, linkSearch };
}
