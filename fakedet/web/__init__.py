"""The page, the REST interface, the gradio_client endpoints and MCP. All HTML is made here, from templates/."""
