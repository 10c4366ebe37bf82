// The row that is chosen by keys: j and k move it, Enter opens it, Escape lets it go.
import { useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo, useState } from "react";
import { useKeys } from "@/lib/keys";
import type { TracesSearch } from "@/lib/search";

/** What of the list's address a trace's page keeps, so that it knows its neighbours and the way back. */
export function useLinkSearch(search: TracesSearch): Omit<TracesSearch, "page" | "live"> {
  return useMemo(() => {
    const { page: _page, live: _live, ...rest } = search;
    return rest;
  }, [search]);
}

export function useChoice(items: { trace_id: string }[], search: TracesSearch) {
  const [chosen, setChosen] = useState<string | null>(null);
  const navigate = useNavigate();
  const kept = useLinkSearch(search);
  const open = useCallback(
    (id: string) => navigate({ to: "/traces/$id", params: { id }, search: kept }),
    [navigate, kept],
  );
  const move = (step: number) => {
    const at = items.findIndex((it) => it.trace_id === chosen);
    const next =
      items[at === -1 ? (step > 0 ? 0 : items.length - 1) : Math.min(items.length - 1, Math.max(0, at + step))];
    if (!next) return;
    setChosen(next.trace_id);
    document.getElementById(`trace-${next.trace_id}`)?.scrollIntoView({ block: "nearest" });
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: () => chosen && open(chosen),
    Escape: () => setChosen(null),
  });
  return { chosen, setChosen, open, kept };
}
