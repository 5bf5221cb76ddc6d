from django.db import migrations


def forget_the_domains(apps, schema_editor):
    """What domains of nobody's have is looked at where other such domains are seen than before. Those that were seen
    before their addresses were kept are looked at so, too."""
    for node in apps.get_model("nodes", "Node").objects.all():
        node.strays = {kind: found for kind, found in node.strays.items() if kind in ("images", "unseen")}
        node.save(update_fields=["strays"])


class Migration(migrations.Migration):

    dependencies = [
        ("nodes", "0006_addresses_of_domains_of_nobodys"),
    ]

    operations = [
        migrations.RunPython(forget_the_domains, migrations.RunPython.noop),
    ]
