// Downloads the filtered traces as a file that the gateway writes.
import { apiUrl } from "@/api/client";
import { filterQuery } from "@/api/queries";
import { buttonClass } from "@/components/button";
import { Menu, MenuItem } from "@/components/floating";
import { Icon } from "@/components/icon";
import { count, plural } from "@/lib/format";
import type { TracesSearch } from "@/lib/search";
import { periodQuery } from "@/lib/time-range";

/** The gateway writes at most this many traces into one file. */
const ROWS_MAX = 100_000;

function download(search: TracesSearch, format: "csv" | "json") {
  const link = document.createElement("a");
  link.href = apiUrl("/api/traces/export", {}, { format, ...filterQuery(search), ...periodQuery(search) });
  link.download = `luner-traces-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${format}`;
  link.click();
}

export function ExportMenu({ search, total }: { search: TracesSearch; total: number }) {
  return (
    <Menu
      trigger={
        <button type="button" disabled={total === 0} className={buttonClass("line")} title="Export the filtered traces">
          <Icon name="download" size={14} className="text-faint" />
          Export
        </button>
      }
    >
      <MenuItem onSelect={() => download(search, "csv")}>As CSV</MenuItem>
      <MenuItem onSelect={() => download(search, "json")}>As JSON</MenuItem>
      <p className="px-2.5 pt-1 pb-1.5 text-xs text-faint">
        {total > ROWS_MAX
          ? `The newest ${count(ROWS_MAX)} of ${count(total)} traces`
          : `${plural(total, "filtered trace")}`}
      </p>
    </Menu>
  );
}
