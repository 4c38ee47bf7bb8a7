# The program with sod_s, sod_m and sod_l, on a CPU. The page at http://127.0.0.1:8000, and any other command on the current folder:
#   docker build -t sod-nas . && docker run --rm -p 127.0.0.1:8000:8000 sod-nas
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" sod-nas predict photo.jpg -o maps
FROM python:3.11-slim

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY genotypes genotypes
COPY search_spaces search_spaces
COPY nas nas
COPY retrain retrain
# The index of torch's CPU builds: a tenth of the size of those with CUDA.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt '.[serve,export,heic]' \
    && rm -rf /src

# Nobody's home: caches go where anybody may write.
ENV XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
USER nobody
EXPOSE 8000
ENTRYPOINT ["sod-nas"]
CMD ["serve", "--host", "0.0.0.0"]
