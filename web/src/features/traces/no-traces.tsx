// An empty list: because nothing passes the filter, or because nothing came.
import { Link } from "@tanstack/react-router";
import { buttonClass } from "@/components/button";
import { Empty } from "@/components/states";
import type { TracesSearch } from "@/lib/search";

export function Nothing({ search }: { search: TracesSearch }) {
  const { range, from, to, page: _page, live, ...filter } = search;
  if (Object.keys(filter).length > 0) {
    return (
      <Empty
        icon="filter"
        title="Nothing passes this filter"
        action={
          <Link to="/traces" search={{ range, from, to, live }} className={buttonClass("line")}>
            Clear the filter
          </Link>
        }
      >
        Take a filter away, or look at a longer period.
      </Empty>
    );
  }
  return (
    <Empty icon="bolt" title={live ? "Waiting for requests" : "No requests in this period"}>
      {live ? "They appear here as they end." : "Choose a longer period, or send a request through luner."}
    </Empty>
  );
}
