# Flow Ingest as one image: `serve` (default), `api` or `worker`. Debian-based, because Temporal's native library needs glibc.
FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# The base image brings Node 24, so the npm package `node` need not unpack another; no other package has a script to run.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

# The helper of JDBC sources: the image itself has no compiler.
FROM node:24-bookworm-slim AS java
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jdk-headless
COPY src/drivers/jdbc/java /build/java
RUN sh /build/java/build.sh

FROM node:24-bookworm-slim
WORKDIR /app
# For JDBC sources. Driver jars are the user's: mount them at /app/jdbc-drivers.
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8081 DATA_DIR=/data
RUN mkdir /data && chown node:node /data
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY src src
COPY --from=java /build/classes src/drivers/jdbc/classes
USER node
# The installation's secret key, and with `serve` and no TEMPORAL_ADDRESS the embedded Temporal server's store.
VOLUME /data
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "--max-semi-space-size=8", "--heap-growing-percent=50", "src/main.ts"]
CMD ["serve"]
