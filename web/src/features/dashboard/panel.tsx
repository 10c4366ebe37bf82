// A panel of the dashboard: title, an optional control beside it, and the content, a skeleton or an error.
import type { ReactNode } from "react";
import { Failure, Skeleton } from "@/components/states";

type Query = { data: unknown; isPending: boolean; error: unknown; refetch: () => unknown };

export function Panel({
  title,
  about,
  aside,
  className = "",
  children,
  query,
}: {
  title: string;
  about?: string;
  aside?: ReactNode;
  className?: string;
  children: ReactNode;
  query?: Query;
}) {
  return (
    <section aria-label={title} className={`flex min-w-0 flex-col bg-surface px-4 pt-3.5 pb-4 ${className}`}>
      <div className="mb-2 flex min-h-7 flex-wrap items-center justify-between gap-x-3 gap-y-1">
        <h2 className="font-medium">
          {title}
          {about && <span className="ml-2 font-normal text-faint">{about}</span>}
        </h2>
        {aside}
      </div>
      {query?.isPending ? (
        <Skeleton className="min-h-48 w-full flex-1" />
      ) : query?.error && query.data === undefined ? (
        <Failure error={query.error} retry={() => query.refetch()} />
      ) : (
        children
      )}
    </section>
  );
}
