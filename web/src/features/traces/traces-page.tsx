// The Traces page: the list, newest first, with filters, search, pages and a live tail. The URL holds all of that.
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback, useState } from "react";
import { PAGE_SIZE, traces } from "@/api/queries";
import { Button } from "@/components/button";
import { Pager, pageCount } from "@/components/pager";
import { Failure, Loading } from "@/components/states";
import { PageHeader } from "@/features/shell/page-header";
import { TimeRangePicker } from "@/features/shell/time-range-picker";
import { plural } from "@/lib/format";
import { useKeys } from "@/lib/keys";
import type { TracesSearch } from "@/lib/search";
import { ExportMenu } from "./export-menu";
import { FilterBar } from "./filter-bar";
import { NoTraces } from "./no-traces";
import { useSelection } from "./selection";
import { TailBar } from "./tail-bar";
import { TracesTable } from "./traces-table";
import { useTail } from "./use-tail";

export function TracesPage() {
  const search = useSearch({ from: "/app/traces" });
  const navigate = useNavigate();
  const [paused, setPaused] = useState(false);
  const live = search.live === true;
  const query = useQuery({
    ...traces({ ...search, live: undefined }),
    refetchInterval: live ? false : 10_000,
    staleTime: live ? Number.POSITIVE_INFINITY : 5_000,
  });
  const tail = useTail(search, live, paused);
  const listed = query.data?.items ?? [];
  const items = live ? (tail.rows.length > 0 ? tail.rows : listed) : listed;
  const total = query.data?.total ?? 0;
  const page = search.page ?? 1;
  const pages = pageCount(total, PAGE_SIZE);

  const change = useCallback(
    (next: Partial<TracesSearch>) => navigate({ to: "/traces", search: (before) => ({ ...before, ...next }) }),
    [navigate],
  );
  const toPage = (next: number) => {
    if (next < 1 || next > pages || live) return;
    change({ page: next === 1 ? undefined : next });
    scrollTo(0, 0);
  };
  const toggleLive = () => {
    setPaused(false);
    change({ live: live ? undefined : true, page: undefined });
  };
  const { selected, setSelected, open, linkSearch } = useSelection(items, search);
  useKeys({
    l: toggleLive,
    p: () => live && setPaused((current) => !current),
    "/": () => document.getElementById("traces-search")?.focus(),
    "[": () => toPage(page - 1),
    "]": () => toPage(page + 1),
  });

  return (
    <>
      <PageHeader title="Traces" about={live ? undefined : query.data && plural(total, "trace")}>
        <Button
          icon={live ? "pause" : "bolt"}
          aria-pressed={live}
          onClick={toggleLive}
          className={live ? "!border-accent text-accent" : ""}
        >
          Live
        </Button>
        <ExportMenu search={search} total={total} />
        {!live && <TimeRangePicker search={search} />}
      </PageHeader>
      <FilterBar search={search} />
      {live && <TailBar tail={tail} paused={paused} onPause={setPaused} />}
      {query.error && !query.data ? (
        <Failure error={query.error} retry={() => query.refetch()} />
      ) : query.isPending ? (
        <Loading rows={14} />
      ) : items.length === 0 ? (
        <NoTraces search={search} />
      ) : (
        <TracesTable
          items={items}
          search={linkSearch}
          selected={selected}
          onSelect={setSelected}
          onOpen={open}
          glow={live && !paused}
        />
      )}
      {!live && <Pager page={page} pageSize={PAGE_SIZE} total={total} onPage={toPage} />}
    </>
  );
}
