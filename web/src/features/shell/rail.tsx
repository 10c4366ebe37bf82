// Navigation and the gateway's health: a rail at the side, or a bar at the bottom of a phone.
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { health } from "@/api/queries";
import { Icon, type IconName } from "@/components/icon";
import { Logo } from "@/components/logo";
import { MOD } from "@/lib/keys";
import { chooseTheme, useVisibleTheme } from "@/lib/theme";

const PAGES: { to: "/" | "/traces" | "/policies" | "/changes" | "/settings"; label: string; icon: IconName }[] = [
  { to: "/", label: "Dashboard", icon: "dashboard" },
  { to: "/traces", label: "Traces", icon: "traces" },
  { to: "/policies", label: "Policies", icon: "policies" },
  { to: "/changes", label: "Changes", icon: "changes" },
  { to: "/settings", label: "Settings", icon: "settings" },
];

const ITEM =
  "flex flex-1 flex-col items-center gap-1 rounded-md px-1 py-2 text-2xs text-soft transition-colors hover:bg-hover hover:text-ink sm:flex-none";

export function Rail({ onPalette, onHelp }: { onPalette: () => void; onHelp: () => void }) {
  return (
    <nav
      aria-label="Pages"
      className="fixed inset-x-0 bottom-0 z-30 flex border-t border-line bg-surface px-1 sm:inset-y-0 sm:right-auto sm:w-[84px] sm:flex-col sm:gap-1 sm:border-t-0 sm:border-r sm:p-2"
    >
      <Link to="/" aria-label="luner dashboard" className="hidden justify-center rounded-md pt-2 pb-4 sm:flex">
        <Logo size={26} />
      </Link>
      {PAGES.map(({ to, label, icon }) => (
        <Link
          key={to}
          to={to}
          activeOptions={{ exact: to === "/", includeSearch: false }}
          className={ITEM}
          activeProps={{ className: "bg-accent-wash !text-accent" }}
        >
          <Icon name={icon} size={18} />
          {label}
        </Link>
      ))}
      <div className="mt-auto hidden flex-col gap-1 sm:flex">
        <RailButton icon="search" label="Search" hint={`Search and commands (${MOD} K)`} onClick={onPalette} />
        <ThemeButton />
        <RailButton icon="help" label="Help" hint="Keyboard shortcuts (?)" onClick={onHelp} />
        <HealthDot />
      </div>
    </nav>
  );
}

function RailButton({
  icon,
  label,
  hint,
  onClick,
}: {
  icon: IconName;
  label: string;
  hint: string;
  onClick: () => void;
}) {
  return (
    <button type="button" title={hint} onClick={onClick} className={ITEM}>
      <Icon name={icon} size={16} />
      {label}
    </button>
  );
}

function ThemeButton() {
  const light = useVisibleTheme() === "light";
  return (
    <RailButton
      icon={light ? "moon" : "sun"}
      label={light ? "Dark" : "Light"}
      hint={light ? "Dark theme" : "Light theme"}
      onClick={() => chooseTheme(light ? "dark" : "light")}
    />
  );
}

function HealthDot() {
  const { data, isError } = useQuery(health());
  const [label, dot] = isError
    ? ["Offline", "bg-bad"]
    : !data
      ? ["…", "bg-faint"]
      : data.status === "ok"
        ? ["Healthy", "bg-good"]
        : data.status === "draining"
          ? ["Draining", "bg-warn"]
          : ["Degraded", "bg-warn"];
  const hint = isError
    ? "The gateway cannot be reached"
    : data
      ? `luner ${data.version}, storage ${data.storage}`
      : "Checking the gateway";
  return (
    <Link to="/settings" title={hint} className={`${ITEM} border-t border-line`}>
      <span aria-hidden="true" className={`my-1 size-2 rounded-full ${dot}`} />
      {label}
    </Link>
  );
}
