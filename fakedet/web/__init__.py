"""The page, REST, gradio_client and MCP. All HTML is made here."""
