# Starts the app as an unprivileged user: docker build -t fakedet . && docker run -p 7860:7860 fakedet
FROM python:3.12-slim
RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH FAKEDET_HOST=0.0.0.0 FAKEDET_PORT=7860 HF_HOME=/home/user/.cache/huggingface
COPY --chown=user requirements.txt .
RUN pip install --no-cache-dir --user -r requirements.txt
COPY --chown=user app.py README.md LICENSE ./
COPY --chown=user fakedet fakedet
COPY --chown=user examples examples
EXPOSE 7860
CMD ["python", "app.py"]
