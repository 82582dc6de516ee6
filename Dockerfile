# The environment that "make" sets up, with JupyterLab at lesson 01:
#   docker build -t xrdclass . && docker run --rm -p 127.0.0.1:8888:8888 xrdclass
FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends make git \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home student \
    && install --directory --owner student /srv/xrdclass
USER student
WORKDIR /srv/xrdclass
COPY --chown=student . .
RUN PIP_NO_CACHE_DIR=1 sh tools/venv.sh
EXPOSE 8888
CMD ["make", "lab", "ARGS=--ip=0.0.0.0 --no-browser"]
