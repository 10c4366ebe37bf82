# The image of luner. The first stage builds the console, the second the binary that embeds it. Only the binary is shipped.
#
#   docker build -t luner .
#   docker buildx build --platform linux/amd64,linux/arm64 -t luner .
#   docker run -p 127.0.0.1:8080:8080 -e OPENAI_API_KEY -e LUNER_ADMIN_TOKEN -v luner:/var/lib/luner luner
#
# Needs BuildKit (the default since Docker 23). Each base image has an argument, for machines that cannot reach its registry.

ARG NODE_IMAGE=node:20-bookworm-slim
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# The console does not depend on the platform, so it is built once, on the builder's platform.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS console
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN --mount=type=cache,target=/var/cache/npm npm ci --cache /var/cache/npm --no-audit --no-fund
COPY scripts/web-pack.mjs ../scripts/
COPY web ./
RUN npm run build

# Cross-compiles on the builder's platform, because an emulated compiler takes ten times as long.
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS binary
ARG TARGETARCH
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# SQLite, mimalloc and ring are written in C, so another architecture needs its own C compiler and libc.
# hadolint ignore=DL3008
RUN arch=${TARGETARCH:-$(dpkg --print-architecture)}; \
    case $arch in \
      amd64) cpu=x86_64 ;; \
      arm64) cpu=aarch64 ;; \
      *) echo "no image for the architecture $arch" >&2; exit 1 ;; \
    esac; \
    echo "$cpu-unknown-linux-gnu" >/target-triple; \
    if ! command -v "$cpu-linux-gnu-gcc" >/dev/null; then \
      apt-get update; \
      apt-get install -y --no-install-recommends "crossbuild-essential-$arch"; \
      rm -rf /var/lib/apt/lists/*; \
      rustup target add "$cpu-unknown-linux-gnu"; \
    fi
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY bench bench
COPY config config
COPY src src
COPY --from=console /src/web/dist web/dist
# The cache keeps compiled dependencies from one build to the next. cargo notices new files of the console only if a source file is
# newer too.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=luner-target-${TARGETARCH},sharing=locked \
    triple=$(cat /target-triple); \
    touch src/console.rs; \
    cargo build --release --locked --target "$triple" -p luner -p mock-llm --bins; \
    install -D -t /out/bin "target/$triple/release/luner" "target/$triple/release/mock-llm"; \
    mkdir -p /out/state

# Contains glibc, certificates and time zones, but no shell and no package manager.
FROM ${RUNTIME_IMAGE} AS runtime
# A number, so that Kubernetes can verify that it is not root. It is `nonroot` in distroless.
USER 65532:65532
WORKDIR /var/lib/luner
STOPSIGNAL SIGTERM

# The scripted provider, for experiments: `docker build --target mock-llm`.
FROM runtime AS mock-llm
COPY --from=binary /out/bin/mock-llm /usr/local/bin/mock-llm
EXPOSE 9000
ENTRYPOINT ["/usr/local/bin/mock-llm"]
CMD ["--listen", "0.0.0.0:9000"]

FROM runtime AS luner
LABEL org.opencontainers.image.title="luner" \
      org.opencontainers.image.description="An AI gateway: applies policies to every LLM request before it costs money, and accounts for it afterwards" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=binary /out/bin/luner /usr/local/bin/luner
COPY config/config.example.yaml /etc/luner/config.yaml
COPY config/prices.json /etc/luner/prices.json
COPY LICENSE /usr/share/doc/luner/LICENSE
# The only folder that luner writes to, so the root file system may be read-only.
COPY --from=binary --chown=65532:65532 /out/state /var/lib/luner
VOLUME /var/lib/luner
EXPOSE 8080
# Asks /api/health on port 8080. Use `luner health --url` if luner listens elsewhere.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/luner", "health"]
ENTRYPOINT ["/usr/local/bin/luner"]
CMD ["serve", "--config", "/etc/luner/config.yaml"]
