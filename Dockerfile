# Starts the app as an unprivileged user: docker build -t fakedet . && docker run -p 7860:7860 fakedet
FROM python:3.12-slim AS build
RUN python -m venv /venv
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY fakedet fakedet
RUN /venv/bin/pip install --no-cache-dir ".[app]"

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 user
COPY --from=build /venv /venv
USER user
WORKDIR /home/user/app
ENV PATH=/venv/bin:$PATH FAKEDET_HOST=0.0.0.0 FAKEDET_PORT=7860 HF_HOME=/home/user/.cache/huggingface
COPY app.py ./
COPY examples/images examples/images
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
CMD ["python", "app.py"]
