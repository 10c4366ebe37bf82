// Shown when the list is empty: nothing matches the filter, or there were no requests.
import { Link } from "@tanstack/react-router";
import { buttonClass } from "@/components/button";
import { Empty } from "@/components/states";
import type { TracesSearch } from "@/lib/search";

export function NoTraces({ search }: { search: TracesSearch }) {
  const { range, from, to, page: _page, live, ...filter } = search;
  if (Object.keys(filter).length > 0) {
    return (
      <Empty
        icon="filter"
        title="No traces match this filter"
        action={
          <Link to="/traces" search={{ range, from, to, live }} className={buttonClass("line")}>
            Clear the filter
          </Link>
        }
      >
        Remove a filter, or choose a longer period.
      </Empty>
    );
  }
  return (
    <Empty icon="bolt" title={live ? "Waiting for requests" : "No requests in this period"}>
      {live ? "Requests appear here when they end." : "Choose a longer period, or send a request through luner."}
    </Empty>
  );
}
