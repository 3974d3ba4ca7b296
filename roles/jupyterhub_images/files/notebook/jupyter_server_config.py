# Of the image; users can have a file of their own in ~/.jupyter.
import os

c = get_config()  # type: ignore[name-defined]  # noqa: F821

if not os.environ.get("JUPYTER_GATEWAY_URL"):  # otherwise kernels run elsewhere, and need the class for a gateway
    c.ServerApp.kernel_websocket_connection_class = "jupyterhub_deploy_notebook.kernels.ExplainingConnection"
